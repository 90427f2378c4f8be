import Crypto
import FastableArchive
import FastableCompression
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization

/// An archive as a node makes it of a workspace, and what the node says of it.
struct SimulatedArchive: Sendable {
    var bytes: [UInt8]
    var facts: SnapshotFacts

    /// - Parameter fileBytes: each file has so many, which cannot be compressed.
    init(files: Int = 3, fileBytes: Int = 200_000) throws {
        var generator = SystemRandomNumberGenerator()
        var archive = TarWriter.header(of: TarEntry(path: Array(".".utf8), kind: .directory, mode: 0o755))
        for index in 0..<files {
            let content = (0..<fileBytes / 8).flatMap { _ in
                withUnsafeBytes(of: UInt64.random(in: .min ... .max, using: &generator)) { Array($0) }
            }
            let size = Int64(content.count)
            archive += TarWriter.header(of: TarEntry(path: Array("file-\(index)".utf8), kind: .file, size: size))
            archive += content + TarWriter.padding(after: size)
        }
        archive += TarWriter.end
        var encoder = try ZstdEncoder()
        var output: [UInt8] = []
        try archive.withUnsafeBytes { try encoder.compress($0, into: &output) }
        try encoder.finish(into: &output)
        bytes = output
        facts = SnapshotFacts(
            entries: files + 1, contentBytes: Int64(files * (fileBytes / 8 * 8)), archiveBytes: Int64(output.count),
            sha256: Self.digest(output), changedFiles: 0, skipped: 0, isConsistent: true)
    }

    static func digest(_ bytes: [UInt8]) -> String { Hex.encode(SHA256.hash(data: bytes)) }

    /// Sends it as a node does.
    func send(on stream: MuxStream, isEmpty: Bool = false) async throws {
        try await sendHead(on: stream, isEmpty: isEmpty)
        try await stream.send(data: ByteBuffer(bytes: bytes), channel: 1)
        try await SimulatedNode.send(NodeReply.success(facts), on: stream)
    }

    func sendHead(on stream: MuxStream, isEmpty: Bool = false) async throws {
        let head = NodeReply.success(SnapshotHead(isEmpty: isEmpty))
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(head)))
    }
}

extension SimulatedNode {
    /// Its workspaces have this content.
    func has(_ archive: SimulatedArchive) {
        handle(.snapshotRead) { stream, _ in try await archive.send(on: stream) }
    }

    /// Keeps what is restored, and answers as a node does that found it right.
    func takesRestores() -> RestoredArchives {
        let restored = RestoredArchives()
        handle(.snapshotRestore) { stream, opening in
            let call = try NodeRequest<FileCall<SnapshotRestore>>(opening: opening).arguments
            var bytes: [UInt8] = []
            while let event = try await stream.next() {
                if case .data(_, let part) = event { bytes += part.readableBytesView }
            }
            restored.add(call.project, bytes)
            let wanted = call.arguments
            try await Self.send(
                NodeReply.success(
                    SnapshotRestored(entries: wanted.entries, contentBytes: wanted.contentBytes, kept: wanted.keepAs)),
                on: stream)
        }
        return restored
    }
}

/// What a simulated node was sent.
final class RestoredArchives: Sendable {
    private let stored = Mutex<[(project: ProjectID, bytes: [UInt8])]>([])

    func add(_ project: ProjectID, _ bytes: [UInt8]) { stored.withLock { $0.append((project, bytes)) } }

    var all: [(project: ProjectID, bytes: [UInt8])] { stored.withLock(\.self) }
}
