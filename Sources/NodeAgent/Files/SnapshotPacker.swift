import FastableArchive
import FastableCore
import Glibc
import NodeLinux

/// Makes a tar archive of all that a workspace is made of: owners as the container numbers them, all bits of modes, times to the
/// nanosecond, every name of a file. FIFOs, sockets and devices are left out, and counted.
///
/// The tree may change meanwhile. The archive is whole all the same: what was told of a file's size is kept by filling up or cutting
/// off, and what differs from that is counted.
struct SnapshotPacker: TreePacking {
    private static let pieceBytes = Limits.framePayloadBytes

    private let top: RootedDirectory
    private let users: ContainerUsers
    private var walker: TreeWalker
    private var links = HardLinks()
    private var extended = ExtendedAttributes()
    private var fingerprint = TreeFingerprint()
    private var file: OpenFile?
    private var position: Int64 = 0
    private var hasBegun = false
    private var isDone = false
    private(set) var entries = 0
    private(set) var contentBytes: Int64 = 0
    private(set) var changedFiles = 0
    private(set) var skipped = 0
    /// Known at the end.
    private(set) var isConsistent = false
    private(set) var fingerprintText: String?

    init(top: RootedDirectory, users: ContainerUsers) {
        self.top = top
        self.users = users
        walker = TreeWalker(top)
    }

    mutating func next() throws -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(Self.pieceBytes + TarWriter.blockBytes * 8)
        do {
            while output.count < Self.pieceBytes && !isDone {
                if let file { try append(file, to: &output) } else { try beginNext(&output) }
            }
        } catch let error as Errno { throw error.fileError(".", doing: "read") }
        return output.isEmpty ? nil : output
    }

    private mutating func beginNext(_ output: inout [UInt8]) throws {
        guard hasBegun else {
            hasBegun = true
            return try add(
                header(try top.descriptor.status(), path: [UInt8(ascii: ".")], kind: .directory), to: &output)
        }
        guard let entry = try walker.next() else { return try end(&output) }
        fingerprint.add(entry)
        switch entry.status.kind {
        case .directory:
            var header = header(entry.status, path: entry.path, kind: .directory)
            header.attributes = Self.tarAttributes(try extended.ofDirectory(entry.path, below: top))
            try add(header, to: &output)
        case .symlink:
            var header = header(entry.status, path: entry.path, kind: .symlink)
            header.linkTarget = entry.linkTarget ?? []
            try add(header, to: &output)
        case .regular: try beginFile(entry, &output)
        case .other: skipped += 1
        }
    }

    private mutating func beginFile(_ entry: TreeWalker.Entry, _ output: inout [UInt8]) throws {
        let opened: OpenFile
        do throws(Errno) { opened = try OpenFile(try top.openWithoutLinks(entry.path, O_RDONLY)) } catch {
            // It was removed, or replaced by something else, since the walker saw it.
            guard [ENOENT, ENOTDIR, ELOOP, ENXIO].contains(error.number) else { throw error }
            return changedFiles += 1
        }
        guard opened.status.kind == .regular else { return changedFiles += 1 }
        if let first = links.earlierName(of: opened.status, at: entry.path) {
            var header = header(opened.status, path: entry.path, kind: .hardLink)
            header.linkTarget = first
            return try add(header, to: &output)
        }
        var header = header(opened.status, path: entry.path, kind: .file)
        header.size = opened.status.size
        header.attributes = Self.tarAttributes(try extended.of(opened.descriptor))
        contentBytes += header.size
        guard contentBytes <= Limits.snapshotContentBytes else { throw Self.tooLarge() }
        try add(header, to: &output)
        file = opened
        position = 0
    }

    private static func tarAttributes(_ attributes: [UserAttribute]) -> [TarEntry.Attribute] {
        attributes.map { TarEntry.Attribute(name: $0.name, value: $0.value) }
    }

    private func header(_ status: FileStatus, path: [UInt8], kind: TarEntry.Kind) -> TarEntry {
        let part = ((status.modified % 1_000_000_000) + 1_000_000_000) % 1_000_000_000
        return TarEntry(
            path: path, kind: kind, mode: status.mode, modified: (status.modified - part) / 1_000_000_000,
            modifiedNanoseconds: part, user: users.inside(status.user), group: users.inside(status.group))
    }

    private mutating func add(_ entry: TarEntry, to output: inout [UInt8]) throws {
        entries += 1
        guard entries <= Limits.snapshotEntries else { throw Self.tooMany(Limits.snapshotEntries) }
        output += TarWriter.header(of: entry)
    }

    /// Adds what follows of a file; one that became shorter is filled up, since its size was told already.
    private mutating func append(_ file: OpenFile, to output: inout [UInt8]) throws {
        let wanted = Int(min(Int64(Self.pieceBytes - output.count), file.status.size - position))
        if wanted > 0 {
            let bytes = try file.descriptor.readChunk(wanted, at: position)
            output += bytes
            output += [UInt8](repeating: 0, count: wanted - bytes.count)
            position += Int64(wanted)
        }
        guard position == file.status.size else { return }
        if try !file.descriptor.status().isSameState(as: file.status) { changedFiles += 1 }
        output += TarWriter.padding(after: position)
        self.file = nil
    }

    private mutating func end(_ output: inout [UInt8]) throws {
        guard !walker.isIncomplete else { throw Self.tooMany(Limits.directoryEntries) }
        output += TarWriter.end
        isConsistent = try changedFiles == 0 && TreeFingerprint.of(top) == fingerprint
        if isConsistent { fingerprintText = fingerprint.text }
        isDone = true
    }

    private static func tooMany(_ limit: Int) -> FastableError {
        FastableError(
            .tooLarge,
            "The workspace cannot be archived: it has a path longer than \(Limits.pathBytes) bytes, or more than \(limit) files.",
            details: ["limit": .integer(Int64(limit))])
    }

    private static func tooLarge() -> FastableError {
        FastableError(
            .tooLarge,
            "The workspace has more than \(Limits.snapshotContentBytes) bytes, which is the most for a snapshot.",
            details: ["limit": .integer(Limits.snapshotContentBytes)])
    }
}
