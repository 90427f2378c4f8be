import FastableArchive
import FastableCore
import Glibc
import NodeLinux

/// Makes a tar archive of a tree, in pieces. FIFOs, sockets and devices are left out.
struct TreePacker: TreePacking {
    private static let pieceBytes = Limits.framePayloadBytes

    private let top: RootedDirectory
    private var walker: TreeWalker
    private var file: OpenFile?
    private var position: Int64 = 0
    private var isDone = false
    private(set) var result = TreeResult(files: 0, sizeBytes: 0)

    init(top: RootedDirectory) {
        self.top = top
        walker = TreeWalker(top)
    }

    mutating func next() throws -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(Self.pieceBytes + TarWriter.blockBytes * 4)
        while output.count < Self.pieceBytes && !isDone {
            if let file { try append(file, to: &output) } else { try beginNext(&output) }
        }
        return output.isEmpty ? nil : output
    }

    private mutating func beginNext(_ output: inout [UInt8]) throws {
        let entry: TreeWalker.Entry?
        do throws(Errno) { entry = try walker.next() } catch { throw error.fileError(".", doing: "read") }
        guard let entry else {
            isDone = true
            output += TarWriter.end
            guard !walker.isIncomplete else { throw Self.tooDeep() }
            return
        }
        var header = TarEntry(
            path: entry.path, kind: .file, mode: entry.status.mode & 0o777,
            modified: entry.status.modified / 1_000_000_000)
        switch entry.status.kind {
        case .directory: header.kind = .directory
        case .symlink:
            header.kind = .symlink
            header.linkTarget = entry.linkTarget ?? []
        case .regular:
            // What cannot be opened any more was removed or replaced meanwhile.
            guard let opened = try? OpenFile(try top.openWithoutLinks(entry.path, O_RDONLY)),
                opened.status.kind == .regular
            else { return }
            guard opened.status.size <= Limits.rawFileBytes else { throw Self.tooLarge(entry.path) }
            header.size = opened.status.size
            file = opened
            position = 0
        case .other: return
        }
        output += TarWriter.header(of: header)
        if header.kind != .directory { result.files += 1 }
        result.sizeBytes += header.size
    }

    /// Adds what follows of a file; a file that became shorter is filled up, since its size was told already.
    private mutating func append(_ file: OpenFile, to output: inout [UInt8]) throws {
        let wanted = Int(min(Int64(Self.pieceBytes - output.count), file.status.size - position))
        let bytes: [UInt8]
        do throws(Errno) {
            bytes = try file.descriptor.readChunk(wanted, at: position)
        } catch { throw error.fileError(".", doing: "read") }
        output += bytes
        output += [UInt8](repeating: 0, count: wanted - bytes.count)
        position += Int64(wanted)
        guard position == file.status.size else { return }
        output += TarWriter.padding(after: position)
        self.file = nil
    }

    private static func tooDeep() -> FastableError {
        FastableError(
            .tooLarge,
            "The tree has a path longer than \(Limits.pathBytes) bytes, or a directory with too many entries.",
            details: ["limit": .integer(Int64(Limits.pathBytes))])
    }

    private static func tooLarge(_ path: [UInt8]) -> FastableError {
        FastableError(
            .tooLarge, "‘\(String(decoding: path, as: UTF8.self))’ is larger than \(Limits.rawFileBytes) bytes.",
            details: ["limit": .integer(Int64(Limits.rawFileBytes))])
    }
}
