import CLinux
import FastableArchive
import FastableCore
import Glibc
package import NodeLinux

/// Unpacks a hostile archive below a directory, and nowhere else.
///
/// Every name is resolved by the kernel below that directory. Files come into being whole; owners are the container's root; set-id
/// and sticky bits are dropped; a hard link can only be to a file that this archive brought.
package struct TreeUnpacker: ~Copyable {
    private let top: RootedDirectory
    private let owner: UInt32
    private let names: TemporaryNames?
    private var reader = TarReader(keepsAttributes: false)
    private var pending: PendingFile?
    private var entry: TarEntry?
    private var unpacked: Set<UInt64> = []
    private var entries = 0
    private(set) var result = TreeResult(files: 0, sizeBytes: 0)

    /// - Parameter names: notes names for the time being, where files may be replaced that somebody uses.
    package init(top: RootedDirectory, owner: UInt32, names: TemporaryNames? = nil) {
        self.names = names
        self.top = top
        self.owner = owner
    }

    package mutating func feed(_ bytes: ArraySlice<UInt8>) throws {
        // The reader is taken out so that its events may change this value.
        var reader = reader
        defer { self.reader = reader }
        try reader.feed(bytes) { event in
            switch event {
            case .entry(let entry): try begin(entry)
            case .data(let bytes): try write(bytes)
            case .entryEnd: try end()
            }
        }
    }

    /// Ends the archive; its bytes are on the disk then.
    mutating func finish() throws -> TreeResult {
        guard reader.isComplete else {
            throw FastableError(.invalid, "The archive ends too early. Send it again.")
        }
        try Self.naming("the archive", "flush") { () throws(Errno) in
            _ = try Errno.checkNegative(fst_synchronize_filesystem(top.descriptor.number))
        }
        return result
    }

    private static func naming<Value: ~Copyable>(
        _ name: String, _ what: String, _ body: () throws(Errno) -> Value
    ) throws -> Value {
        do throws(Errno) { return try body() } catch { throw error.fileError(name, doing: what) }
    }

    /// Lets go of the entry that was begun; nothing may be fed any more.
    mutating func abandon() { pending = nil }

    private mutating func begin(_ entry: TarEntry) throws {
        entries += 1
        guard entries <= Limits.treeFiles else {
            throw FastableError(
                .limit, "The archive has more than \(Limits.treeFiles) entries.",
                details: ["limit": .integer(Int64(Limits.treeFiles))])
        }
        let name = String(decoding: entry.path, as: UTF8.self)
        let path = try Self.path(entry.path, name)
        self.entry = entry
        switch entry.kind {
        case .directory: try makeDirectory(path, entry)
        case .file: try beginFile(path, entry)
        case .symlink: try makeSymlink(path, entry)
        case .hardLink: try makeHardLink(path, entry)
        }
    }

    private static func path(_ bytes: [UInt8], _ name: String) throws -> RootedPath {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw FastableError(
                .unprocessable,
                "The archive's entry ‘\(name)’ has a name that is not UTF-8; rename it or leave it out.",
                details: ["entry": .string(name)])
        }
        guard !name.hasPrefix("/") else {
            throw FastableError(
                .forbidden, "The archive's entry ‘\(name)’ has an absolute path. Make the archive with relative ones.",
                details: ["entry": .string(name)])
        }
        return try RootedPath(name)
    }

    /// Where an entry goes: directories on the way are made, a symbolic link in its place is not followed.
    private func place(_ path: RootedPath) throws(Errno) -> RootedDirectory.Place {
        try top.place(of: path, makingDirectoriesFor: owner)
    }

    private func makeDirectory(_ path: RootedPath, _ entry: TarEntry) throws {
        guard !path.isRoot else { return }
        try Self.naming(path.description, "unpack") { () throws(Errno) in
            let mode = entry.mode & 0o777 | 0o700
            do throws(Errno) {
                // An existing directory stays, also when a link inside leads to it.
                let directory = try top.open(path, O_RDONLY | O_DIRECTORY)
                try directory.setMode(mode)
                return
            } catch {
                guard error.number == ENOENT || error.number == ENOTDIR else { throw error }
            }
            let place = try place(path)
            if place.status != nil { try place.directory.removeEntry(place.name) }
            _ = try place.directory.makeDirectory(place.name, mode: mode, owner: owner)
        }
    }

    private mutating func beginFile(_ path: RootedPath, _ entry: TarEntry) throws {
        guard entry.size <= Limits.rawFileBytes else {
            throw FastableError(
                .tooLarge, "The archive's entry ‘\(path)’ is larger than \(Limits.rawFileBytes) bytes.",
                details: ["limit": .integer(Int64(Limits.rawFileBytes))])
        }
        pending = try Self.naming(path.description, "unpack") { () throws(Errno) in
            let place = try place(path)
            if place.status?.kind == .directory { try place.directory.removeDirectory(place.name) }
            return try PendingFile.begin(at: place, owner: owner, attributes: .mode(entry.mode), names: names)
        }
    }

    private func write(_ bytes: ArraySlice<UInt8>) throws {
        try Self.naming(name, "unpack") { () throws(Errno) in
            var failure: Errno?
            bytes.withUnsafeBytes { buffer in
                do throws(Errno) { try pending?.write(buffer) } catch { failure = error }
            }
            if let failure { throw failure }
        }
    }

    private mutating func end() throws {
        guard let entry, pending != nil else { return }
        let (modified, overflows) = entry.modified.multipliedReportingOverflow(by: 1_000_000_000)
        let inode = try Self.naming(name, "unpack") { () throws(Errno) -> UInt64? in
            // A time that no file can have is left out.
            if !overflows, modified > .min / 2 { try pending?.setModified(modified) }
            try pending?.commit(exclusively: false)
            return try pending?.status().inode
        }
        pending = nil
        if let inode { unpacked.insert(inode) }
        result.files += 1
        result.sizeBytes += entry.size
    }

    private var name: String { entry.map { String(decoding: $0.path, as: UTF8.self) } ?? "" }

    private mutating func makeSymlink(_ path: RootedPath, _ entry: TarEntry) throws {
        let target = entry.linkTarget.map { CChar(bitPattern: $0) } + [0]
        try Self.naming(path.description, "unpack") { () throws(Errno) in
            guard target.count > 1, target.count <= Limits.pathBytes else { throw Errno(ENAMETOOLONG) }
            let place = try place(path)
            try Self.clear(place)
            try place.directory.makeSymlink(place.name, target: target, owner: owner)
        }
        result.files += 1
    }

    private mutating func makeHardLink(_ path: RootedPath, _ entry: TarEntry) throws {
        let targetName = String(decoding: entry.linkTarget, as: UTF8.self)
        let target = try Self.path(entry.linkTarget, targetName)
        let isOurs = try Self.naming(path.description, "unpack") { () throws(Errno) in
            let file = try top.openWithoutLinks(Array(target.description.utf8), CInt(FST_O_PATH))
            let status = try file.status()
            guard status.kind == .regular, unpacked.contains(status.inode) else { return false }
            let place = try place(path)
            if place.status?.inode == status.inode { return true }
            try Self.clear(place)
            try Errno.checkNegative(fst_link_descriptor(file.number, place.directory.number, place.name))
            return true
        }
        guard isOurs else {
            throw FastableError(
                .forbidden,
                "The archive's entry ‘\(path)’ is a hard link to ‘\(targetName)’, which did not come before it.",
                details: ["entry": .string(path.description)])
        }
        result.files += 1
    }

    private static func clear(_ place: borrowing RootedDirectory.Place) throws(Errno) {
        switch place.status?.kind {
        case nil: break
        case .directory: try place.directory.removeDirectory(place.name)
        case .regular, .symlink, .other: try place.directory.removeEntry(place.name)
        }
    }
}
