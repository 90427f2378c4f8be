import FastableArchive
import FastableCore
import Glibc
import NodeLinux

/// Makes the tree of a snapshot's archive anew, in a fresh directory that nobody else can reach yet.
struct SnapshotUnpacker: ~Copyable {
    private var builder: TreeBuilder
    private var reader = TarReader()
    private var file: FileDescriptor?
    private var entry: TarEntry?
    /// Of the workspace's own directory.
    private(set) var topAttributes: TreeBuilder.Attributes?
    private(set) var entries = 0
    private(set) var contentBytes: Int64 = 0

    init(top: RootedDirectory, users: ContainerUsers) throws(Errno) {
        builder = try TreeBuilder(in: top, users: users)
    }

    mutating func feed(_ bytes: ArraySlice<UInt8>) throws {
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

    /// Ends the archive; its files are on the disk then.
    mutating func finish() throws {
        guard reader.isComplete, topAttributes != nil else { throw Self.damaged }
        do throws(Errno) { try builder.finish() } catch { throw error.fileError(".", doing: "restore") }
    }

    /// Lets go of the file that is being written: while it is open, its space is not free.
    mutating func abandon() { file = nil }

    private mutating func begin(_ entry: TarEntry) throws {
        entries += 1
        guard entries <= Limits.snapshotEntries else { throw Self.damaged }
        // Sizes are anybody's: a sum that was not announced is refused at the end, whatever it is.
        contentBytes &+= entry.size
        var entry = entry
        if entry.kind == .directory, entry.path.last == UInt8(ascii: "/") { entry.path.removeLast() }
        self.entry = entry
        if entry.path == [UInt8(ascii: ".")], entry.kind == .directory {
            topAttributes = TreeBuilder.Attributes(entry)
            return
        }
        guard TreeBuilder.isPath(entry.path) else { throw Self.damaged }
        do throws(Errno) {
            let attributes = TreeBuilder.Attributes(entry)
            switch entry.kind {
            case .directory: try builder.makeDirectory(entry.path, attributes)
            case .file: file = try builder.makeFile(entry.path)
            case .symlink: try builder.makeSymlink(entry.path, to: entry.linkTarget, attributes)
            case .hardLink: try builder.makeHardLink(entry.path, to: entry.linkTarget)
            }
        } catch { throw failure(error) }
    }

    private func write(_ bytes: ArraySlice<UInt8>) throws {
        var failed: Errno?
        bytes.withUnsafeBytes { buffer in
            do throws(Errno) { try file?.writeAll(buffer) } catch { failed = error }
        }
        if let failed { throw failure(failed) }
    }

    private mutating func end() throws {
        guard let entry, let file = file.take() else { return }
        do throws(Errno) { try builder.finishFile(file, TreeBuilder.Attributes(entry)) } catch { throw failure(error) }
    }

    private func failure(_ error: Errno) -> FastableError {
        error.fileError(String(decoding: entry?.path ?? [], as: UTF8.self), doing: "restore")
    }

    private static var damaged: FastableError {
        FastableError(.invalid, "The snapshot's archive is damaged. Nothing was changed; restore another one.")
    }
}
