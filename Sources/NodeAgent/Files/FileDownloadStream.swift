public import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// The bytes of one file, or of a range of it, as they were opened: a file that is replaced meanwhile is read to its old end.
public final class FileDownloadStream: Sendable {
    /// Comes before the bytes.
    public let head: FileDownloadHead
    private let path: RootedPath
    private let file: OpenFile
    private let work: FileWork
    private let position: Mutex<Int64>

    init(_ path: RootedPath, _ file: OpenFile, offset: Int64, length: Int64, work: FileWork) {
        self.path = path
        self.work = work
        self.file = file
        head = FileDownloadHead(
            sizeBytes: file.status.size, offset: offset, length: length,
            version: file.status.version)
        position = Mutex(offset)
    }

    /// The next bytes, `Limits.framePayloadBytes` at most; `nil` at the end. One reader at a time.
    ///
    /// - Throws: `conflict` when the file has become shorter.
    public func next() async throws -> [UInt8]? {
        let start = position.withLock { $0 }
        let wanted = min(Int64(Limits.framePayloadBytes), head.offset + head.length - start)
        guard wanted > 0 else { return nil }
        let bytes = try await work.run { [self] in
            do throws(Errno) {
                return try file.descriptor.readChunk(Int(wanted), at: start)
            } catch { throw error.fileError(path.description, doing: "read") }
        }
        guard Int64(bytes.count) == wanted else {
            throw FastableError(
                .conflict, "‘\(path)’ became shorter while it was read. Try again.",
                details: ["path": .string(path.description)])
        }
        position.withLock { $0 = start + wanted }
        return bytes
    }
}

extension FileService {
    /// Opens a regular file for reading its raw bytes.
    public func download(_ request: FileDownload) async throws -> FileDownloadStream {
        let path = try Self.requestedPath(request.path)
        let file = try onFile(path, "read") { () throws(Errno) in try OpenFile(try root.open(path, O_RDONLY)) }
        switch file.status.kind {
        case .regular: break
        case .directory: throw Errno(EISDIR).fileError(path.description, doing: "read")
        case .symlink, .other: throw notRegular(path)
        }
        let size = file.status.size
        let offset = request.offset ?? 0
        guard (0...size).contains(offset) else { throw Self.outOfRange("offset", "0 to \(size), the file's size") }
        let length = request.length ?? size - offset
        guard length >= 0 else { throw Self.outOfRange("length", "0 and above") }
        return FileDownloadStream(path, file, offset: offset, length: min(length, size - offset), work: work)
    }
}
