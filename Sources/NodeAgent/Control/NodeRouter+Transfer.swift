import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NodeFiles
import NodeSandbox

/// Raw files and whole trees.
extension NodeRouter {
    func download(_ call: NodeCall) async throws {
        let file: FileCall<FileDownload> = try call.arguments()
        let source = try await files(of: file.project, call).download(file.arguments)
        try await call.send(NodeReply.success(source.head))
        // From here on an error cannot be a reply: the bytes before it would look complete.
        do {
            while let bytes = try await source.next() {
                try await call.stream.send(data: ByteBuffer(bytes: bytes), channel: 1)
            }
            try await call.stream.finish()
        } catch {
            call.stream.reset(FastableError.unexpected(error, doing: "reading the file"))
        }
    }

    func watch(_ call: NodeCall) async throws {
        let file: FileCall<FileWatch> = try call.arguments()
        let source = try await files(of: file.project, call).watch(file.arguments)
        defer { source.cancel() }
        try await call.send(NodeReply.success(Empty()))
        // From here on the answer consists of batches.
        do {
            try await withThrowingTaskGroup { group in
                group.addTask {
                    while let events = try await source.next() {
                        for part in Self.parts(of: events) { try await call.send(FileWatchBatch(events: part)) }
                    }
                }
                group.addTask {
                    // Ends when the controller does not want to hear any more.
                    while try await call.stream.next() != nil {}
                }
                try await group.next()
                source.cancel()
                group.cancelAll()
            }
            try await call.stream.finish()
        } catch {
            call.stream.reset(FastableError.unexpected(error, doing: "watching"))
        }
    }

    /// Pieces that fit into one message each, also when every byte of a path must be escaped.
    private static func parts(of events: [FileWatchEvent]) -> [[FileWatchEvent]] {
        var parts: [[FileWatchEvent]] = [[]]
        var size = 0
        for event in events {
            let bytes = 6 * (event.path.utf8.count + (event.from?.utf8.count ?? 0)) + 512
            if size + bytes > Limits.controlMessageBytes, !parts[parts.count - 1].isEmpty {
                parts.append([])
                size = 0
            }
            parts[parts.count - 1].append(event)
            size += bytes
        }
        return parts
    }

    func upload(_ call: NodeCall) async throws {
        let file: FileCall<FileUpload> = try call.arguments()
        let sink = try await files(of: file.project, call).upload(file.arguments)
        do {
            while let event = try await call.stream.next() {
                guard case .data(_, let bytes) = event else { continue }
                try await sink.write(Array(bytes.readableBytesView))
            }
            try await call.reply(NodeReply.success(try await sink.finish()))
        } catch {
            sink.cancel()
            throw error
        }
    }

    func pushTree(_ call: NodeCall) async throws {
        let tree: FileCall<TreePush> = try call.arguments()
        try await sandboxes.checkStart(tree.project)
        let sink = try await files(of: tree.project, call).pushTree(tree.arguments)
        do {
            while let event = try await call.stream.next() {
                guard case .data(_, let bytes) = event else { continue }
                try await sink.write(Array(bytes.readableBytesView))
            }
            try await call.reply(NodeReply.success(try await sink.finish()))
        } catch {
            await sink.cancel()
            throw error
        }
    }

    func pullTree(_ call: NodeCall) async throws {
        let tree: FileCall<TreePull> = try call.arguments()
        let source = try await files(of: tree.project, call).pullTree(tree.arguments)
        while let bytes = try await source.next() {
            try await call.stream.send(data: ByteBuffer(bytes: bytes), channel: 1)
        }
        try await call.stream.finish()
    }
}
