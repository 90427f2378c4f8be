import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NodeFiles

/// Raw files and whole trees.
extension NodeRouter {
    func download(_ call: NodeCall) async throws {
        let file: FileCall<FileDownload> = try call.arguments()
        let source = try await files(of: file.project).download(file.arguments)
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

    func upload(_ call: NodeCall) async throws {
        let file: FileCall<FileUpload> = try call.arguments()
        let sink = try await files(of: file.project).upload(file.arguments)
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
        let sink = try await files(of: tree.project).pushTree(tree.arguments)
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
        let source = try await files(of: tree.project).pullTree(tree.arguments)
        while let bytes = try await source.next() {
            try await call.stream.send(data: ByteBuffer(bytes: bytes), channel: 1)
        }
        try await call.stream.finish()
    }
}
