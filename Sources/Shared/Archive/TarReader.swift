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
        var attributes = Attributes()
        /// Headers that have come since the last entry.
        var headers = 0
    }

    /// Each name once, with the value that came last.
    private struct Attributes {
        private(set) var all: [TarEntry.Attribute] = []
        private(set) var bytes = 0
        private var places: [[UInt8]: Int] = [:]

        /// Counted as they are where they are read from files: with the end of the name and the length of the value.
        private static let extraBytes = 5

        mutating func put(_ name: [UInt8], _ value: [UInt8]) throws {
            if let place = places[name] {
                bytes += value.count - all[place].value.count
                all[place].value = value
            } else {
                bytes += name.count + value.count + Self.extraBytes
                places[name] = all.count
                all.append(TarEntry.Attribute(name: name, value: value))
            }
            guard bytes <= Limits.snapshotAttributeBytes else {
                throw FastableError(
                    .tooLarge,
                    "An entry of the archive has more than \(Limits.snapshotAttributeBytes) bytes of extended attributes.",
                    details: ["limit": .integer(Int64(Limits.snapshotAttributeBytes))])
            }
        }
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

    private let keepsAttributes: Bool
    private var state = State.header
    private var buffer: [UInt8] = []
    private var overrides = Overrides()
    private var padding = 0
    private var isFirst = true

    /// - Parameter keepsAttributes: whether entries have their extended attributes; else these are passed over.
    package init(keepsAttributes: Bool = true) { self.keepsAttributes = keepsAttributes }

    /// Bytes that are kept from one call to the next.
    package var heldBytes: Int {
        let names = (overrides.path?.count ?? 0) + (overrides.linkTarget?.count ?? 0)
        return buffer.count + names + overrides.attributes.bytes
    }

    /// Whether the archive is complete: its end was seen, or it stopped between two entries.
    package var isComplete: Bool {
        switch state {
        case .end: true
        case .header: buffer.isEmpty && !isFirst
        case .content, .extended, .padding: false
        }
    }

    /// - Throws: `invalid` when it is not an archive or damaged, `unprocessable` for kinds of entries that are refused, `too_large` for
    ///   headers that are too long or too many, and whatever `handle` throws.
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
            try countHeader()
            guard let own = header.size, own <= Limits.tarHeaderBytes else { throw tooLong() }
            padding = Int((512 - own % 512) % 512)
            state = .extended(type: header.type, rest: Int(own))
            return
        // A global header, or a volume's label: nothing that matters here.
        case UInt8(ascii: "g"), UInt8(ascii: "V"):
            try countHeader()
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
        entry.attributes = overrides.attributes.all
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

    /// Only entries count for those who limit what an archive may hold, so what comes between them is limited here.
    private mutating func countHeader() throws {
        overrides.headers += 1
        guard overrides.headers <= Limits.tarHeadersPerEntry else {
            throw FastableError(
                .tooLarge, "More than \(Limits.tarHeadersPerEntry) headers of the archive stand before one entry.",
                details: ["limit": .integer(Int64(Limits.tarHeadersPerEntry))])
        }
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
        let prefix = TarWriter.attributePrefix.utf8
        if key.starts(with: prefix) {
            guard keepsAttributes else { return }
            return try overrides.attributes.put(Array(key.dropFirst(prefix.count)), value)
        }
        let text = String(decoding: value, as: UTF8.self)
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
