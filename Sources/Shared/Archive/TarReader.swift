import FastableCore

/// Reads a tar archive (ustar, pax, GNU long names) that arrives in pieces of any size. Pure; its input is hostile.
package struct TarReader: Sendable {
    package enum Event {
        case entry(TarEntry)
        /// Content of the last entry.
        case data(ArraySlice<UInt8>)
        /// The last entry's content is complete; comes after every entry.
        case entryEnd
    }

    /// What an entry's own fields are replaced with.
    private struct Overrides {
        var path: [UInt8]?
        var linkTarget: [UInt8]?
        var size: Int64?
        var modified: PaxTime?
        var attributes: [TarEntry.Attribute] = []
    }

    private enum State {
        case header
        /// Bytes of a file, or of an entry that is passed over.
        case content(rest: Int64, isFile: Bool)
        /// Bytes that say something about the next entry.
        case extended(type: UInt8, rest: Int)
        case padding(rest: Int)
        case end
    }

    private var state = State.header
    private var buffer: [UInt8] = []
    private var overrides = Overrides()
    private var padding = 0
    private var isFirst = true

    package init() {}

    /// Whether the archive is complete: its end was seen, or it stopped between two entries.
    package var isComplete: Bool {
        switch state {
        case .end: true
        case .header: buffer.isEmpty && !isFirst
        case .content, .extended, .padding: false
        }
    }

    /// - Throws: `invalid` when it is not an archive or damaged, `unprocessable` for kinds of entries that are refused, and whatever
    ///   `handle` throws.
    package mutating func feed(_ bytes: ArraySlice<UInt8>, _ handle: (Event) throws -> Void) throws {
        var bytes = bytes
        while !bytes.isEmpty {
            switch state {
            case .header:
                guard take(TarHeader.blockBytes, from: &bytes) else { return }
                let header = TarHeader(buffer)
                buffer.removeAll(keepingCapacity: true)
                try begin(header, handle)
            case .content(let rest, let isFile):
                let piece = bytes.prefix(Int(min(Int64(bytes.count), rest)))
                bytes = bytes.dropFirst(piece.count)
                if isFile { try handle(.data(piece)) }
                state = .content(rest: rest - Int64(piece.count), isFile: isFile)
            case .extended(let type, let size):
                guard take(size, from: &bytes) else { return }
                let content = buffer
                buffer.removeAll(keepingCapacity: true)
                try extend(type, content)
                state = .padding(rest: padding)
            case .padding(let rest):
                let count = min(rest, bytes.count)
                bytes = bytes.dropFirst(count)
                state = .padding(rest: rest - count)
            case .end: return
            }
            try settle(handle)
        }
    }

    /// Leaves states that need no more bytes.
    private mutating func settle(_ handle: (Event) throws -> Void) throws {
        if case .content(rest: 0, let isFile) = state {
            if isFile { try handle(.entryEnd) }
            state = .padding(rest: padding)
        }
        if case .extended(_, rest: 0) = state { state = .header }
        if case .padding(rest: 0) = state { state = .header }
    }

    /// Collects `count` bytes in the buffer; `false` while some are missing.
    private mutating func take(_ count: Int, from bytes: inout ArraySlice<UInt8>) -> Bool {
        let piece = bytes.prefix(count - buffer.count)
        buffer += piece
        bytes = bytes.dropFirst(piece.count)
        return buffer.count == count
    }

    private mutating func begin(_ header: TarHeader, _ handle: (Event) throws -> Void) throws {
        if header.isZero {
            if isFirst { isFirst = false }
            state = .end
            return
        }
        guard header.hasValidChecksum, let size = overrides.size ?? header.size, let mode = header.mode,
            let modified = overrides.modified ?? header.modified.map({ PaxTime(seconds: $0) })
        else { throw damaged(header) }
        isFirst = false
        padding = Int((512 - size % 512) % 512)
        switch header.type {
        case UInt8(ascii: "x"), UInt8(ascii: "L"), UInt8(ascii: "K"):
            guard let own = header.size, own <= Limits.tarHeaderBytes else { throw tooLong() }
            padding = Int((512 - own % 512) % 512)
            state = .extended(type: header.type, rest: Int(own))
            return
        // A global header, or a volume's label: nothing that matters here.
        case UInt8(ascii: "g"), UInt8(ascii: "V"):
            let own = header.size ?? 0
            padding = Int((512 - own % 512) % 512)
            state = .content(rest: own, isFile: false)
            return
        default: break
        }
        var entry = TarEntry(
            path: overrides.path ?? header.path, kind: try kind(header), size: size, mode: mode,
            modified: modified.seconds, modifiedNanoseconds: modified.nanoseconds, user: header.user,
            group: header.group, linkTarget: overrides.linkTarget ?? header.linkTarget)
        entry.attributes = overrides.attributes
        overrides = Overrides()
        if entry.kind != .file {
            // Such entries have no content; a size that is given all the same is not to be believed in, but skipped.
            entry.size = 0
        }
        try handle(.entry(entry))
        if entry.kind != .file { try handle(.entryEnd) }
        state = .content(rest: size, isFile: entry.kind == .file)
    }

    private func kind(_ header: TarHeader) throws -> TarEntry.Kind {
        switch header.type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            // Old archives mark a directory by its name alone.
            return (overrides.path ?? header.path).last == UInt8(ascii: "/") ? .directory : .file
        case UInt8(ascii: "1"): return .hardLink
        case UInt8(ascii: "2"): return .symlink
        case UInt8(ascii: "5"): return .directory
        default:
            let name = String(decoding: overrides.path ?? header.path, as: UTF8.self)
            let what =
                switch header.type {
                case UInt8(ascii: "3"), UInt8(ascii: "4"): "a device"
                case UInt8(ascii: "6"): "a FIFO"
                default: "of a kind that is not supported"
                }
            throw FastableError(
                .unprocessable, "The archive's entry ‘\(name)’ is \(what); leave it out.",
                details: ["entry": .string(name)])
        }
    }

    private func damaged(_ header: TarHeader) -> FastableError {
        if isFirst && header.isGzip {
            return FastableError(.invalid, "The archive is compressed with gzip. Send a plain one, or use zstd.")
        }
        if isFirst && header.isZstd {
            return FastableError(
                .invalid, "The archive is compressed with zstd. Say so: ‘Content-Type: application/zstd’.")
        }
        return FastableError(
            .invalid, isFirst ? "The bytes are not a tar archive." : "The archive is damaged: a header is not valid.")
    }

    private func tooLong() -> FastableError {
        FastableError(
            .tooLarge, "An extended header of the archive is longer than \(Limits.tarHeaderBytes) bytes.",
            details: ["limit": .integer(Int64(Limits.tarHeaderBytes))])
    }

    private mutating func extend(_ type: UInt8, _ content: [UInt8]) throws {
        switch type {
        case UInt8(ascii: "L"): overrides.path = Array(content.prefix { $0 != 0 })
        case UInt8(ascii: "K"): overrides.linkTarget = Array(content.prefix { $0 != 0 })
        default: try readRecords(content)
        }
    }

    /// pax: lines ‘length key=value’, where the length counts the whole line.
    private mutating func readRecords(_ content: [UInt8]) throws {
        var rest = content[...]
        while let digits = rest.firstIndex(of: UInt8(ascii: " ")) {
            guard let length = Int(String(decoding: rest[..<digits], as: UTF8.self)), length <= rest.count,
                length > digits - rest.startIndex + 1
            else { break }
            let line = rest[(digits + 1)..<(rest.startIndex + length)].dropLast()
            rest = rest.dropFirst(length)
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { break }
            try apply(Array(line[..<equals]), Array(line[(equals + 1)...]))
        }
        guard rest.isEmpty else {
            throw FastableError(.invalid, "The archive is damaged: an extended header is not valid.")
        }
    }

    private mutating func apply(_ key: [UInt8], _ value: [UInt8]) throws {
        let text = String(decoding: value, as: UTF8.self)
        let prefix = TarWriter.attributePrefix.utf8
        if key.starts(with: prefix) {
            overrides.attributes.append(TarEntry.Attribute(name: Array(key.dropFirst(prefix.count)), value: value))
            return
        }
        switch String(decoding: key, as: UTF8.self) {
        case "path": overrides.path = value
        case "linkpath": overrides.linkTarget = value
        case "size":
            guard let size = Int64(text), size >= 0 else {
                throw FastableError(.invalid, "The archive is damaged: a size is not valid.")
            }
            overrides.size = size
        case "mtime": overrides.modified = PaxTime(text)
        case let other where other.hasPrefix("GNU.sparse."):
            throw FastableError(.unprocessable, "The archive holds sparse files; make it without ‘--sparse’.")
        default: break
        }
    }
}
