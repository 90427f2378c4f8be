public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

extension FileService {
    /// Files up to this size are read without a change of thread.
    private static let inlineBytes = 256 * 1024
    private static let chunkBytes = 1024 * 1024

    /// Text by lines, other bytes in base 64, or the entries of a directory.
    ///
    /// Lines are counted from 1 and keep their line ends. A file above `Limits.fileScanBytes` is read no further than asked: then
    /// `sha256` and `totalLines` are absent.
    public func read(_ request: FileRead) async throws -> FileReadResult {
        let path = try Self.requestedPath(request.path)
        let offset = request.offset ?? 1
        let limit = request.limit ?? Int.max
        guard offset >= 1 else { throw Self.outOfRange("offset", "1 and above") }
        guard limit >= 1 else { throw Self.outOfRange("limit", "1 and above") }
        let file = try onFile(path, "read") { () throws(Errno) in try OpenFile(try root.open(path, O_RDONLY)) }
        switch file.status.kind {
        case .directory:
            return try await offload { [self] in try readDirectory(path) }
        case .regular:
            let scanner = LineScanner(firstLine: offset, lineLimit: limit, byteLimit: Limits.fileReadBytes)
            if file.status.size <= Self.inlineBytes {
                await smallReads.take()
                defer { smallReads.giveBack() }
                // Behind those who came meanwhile.
                await Task.yield()
                return try readSmall(path, file, scanner)
            }
            return try await offload { [self] in try readLarge(path, file, scanner) }
        case .symlink, .other:
            throw notRegular(path)
        }
    }

    private func readDirectory(_ path: RootedPath) throws -> FileReadResult {
        let list = try listNow(path, depth: 1, includeHidden: true)
        return FileReadResult(
            path: path.description, kind: .directory, truncated: list.truncated, entries: list.entries)
    }

    private func readSmall(_ path: RootedPath, _ file: OpenFile, _ scanner: LineScanner) throws -> FileReadResult {
        try withUnsafeTemporaryAllocation(byteCount: Int(file.status.size), alignment: 16) { buffer in
            let count = try onFile(path, "read") { () throws(Errno) in try file.descriptor.read(into: buffer, at: 0) }
            let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            let sha256 = Digest.of(bytes)
            var scanner = scanner
            scanner.feed(bytes)
            if scanner.isBinary || scanner.endsWithinCharacter {
                return Self.binary(path, bytes, size: count, sha256: sha256)
            }
            return Self.text(path, scanner, size: count, sha256: sha256)
        }
    }

    private func readLarge(_ path: RootedPath, _ file: OpenFile, _ scanner: LineScanner) throws -> FileReadResult {
        var scanner = scanner
        var digest = Digest()
        let readsAll = file.status.size <= Int64(Limits.fileScanBytes)
        let size = Int(file.status.size)
        var position = 0
        while readsAll || !scanner.isFull {
            guard position <= Limits.fileScanBytes else { throw tooFar(path) }
            let chunk = try onFile(path, "read") { () throws(Errno) in
                try file.descriptor.readChunk(Self.chunkBytes, at: Int64(position))
            }
            chunk.withUnsafeBytes { bytes in
                scanner.feed(bytes)
                if readsAll { digest.update(bytes) }
            }
            position += chunk.count
            if chunk.count < Self.chunkBytes { break }
            if scanner.isBinary && !readsAll { break }
        }
        let sha256 = readsAll ? digest.text : nil
        if scanner.isBinary || (readsAll && scanner.endsWithinCharacter) {
            let head = try onFile(path, "read") { () throws(Errno) in
                try file.descriptor.readChunk(Self.binaryBytes, at: 0)
            }
            return head.withUnsafeBytes { Self.binary(path, $0, size: readsAll ? position : size, sha256: sha256) }
        }
        return Self.text(path, scanner, size: readsAll ? position : size, sha256: sha256)
    }

    private func tooFar(_ path: RootedPath) -> FastableError {
        FastableError(
            .tooLarge,
            "‘\(path)’ is too large to find that line: only the first \(Limits.fileScanBytes) bytes are searched. "
                + "Use a command such as ‘tail’ or ‘sed’, or the raw file route with a range.",
            details: ["path": .string(path.description), "limit": .integer(Int64(Limits.fileScanBytes))])
    }

    /// So many bytes give a text of `Limits.fileReadBytes` in base 64.
    private static let binaryBytes = Limits.fileReadBytes / 4 * 3

    private static func binary(
        _ path: RootedPath, _ bytes: UnsafeRawBufferPointer, size: Int, sha256: String?
    ) -> FileReadResult {
        let head = Data(bytes.prefix(binaryBytes))
        return FileReadResult(
            path: path.description, kind: .file, content: head.base64EncodedString(), encoding: .base64, sha256: sha256,
            sizeBytes: size, truncated: size > head.count)
    }

    private static func text(_ path: RootedPath, _ scanner: LineScanner, size: Int, sha256: String?) -> FileReadResult {
        FileReadResult(
            path: path.description, kind: .file, content: String(decoding: scanner.content, as: UTF8.self),
            encoding: .utf8, sha256: sha256, sizeBytes: size, firstLine: scanner.firstLine,
            lineCount: scanner.lineCount, totalLines: sha256 == nil ? nil : scanner.totalLines,
            truncated: sha256 == nil || scanner.isTruncated)
    }
}
