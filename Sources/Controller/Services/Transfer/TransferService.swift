import ControllerDomain
import ControllerFleet
public import FastableCore
import FastableWire
import FoundationEssentials
public import NIOCore
import NIOFoundationEssentialsCompat

/// Raw files and whole trees, as bytes with flow control between a door and a node. Each call passes the same gate as an operation.
public final class TransferService: Sendable {
    private let projects: ProjectService
    private let gate: OperationGate
    private let metrics: Metrics

    init(projects: ProjectService, gate: OperationGate, metrics: Metrics) {
        self.projects = projects
        self.gate = gate
        self.metrics = metrics
    }

    /// One file, or a part of it: its size and what of it follows, then the bytes. Needs `files:read`.
    public func download(
        _ file: FileDownload, from project: String, context: OperationContext
    ) async throws -> (head: FileDownloadHead, bytes: NodeBytes) {
        try await pass("fs.download", .filesRead, project, path: file.path, context) { placed in
            let stream = try await self.open(.fileDownload, file, placed, context)
            let head = try await Self.message(of: FileDownloadHead.self, from: stream)
            return ((head, NodeBytes(stream: stream, metrics: self.metrics)), ["bytes": .integer(head.length)])
        }
    }

    /// A directory as a tar archive. Needs `files:read`.
    public func pull(
        _ tree: TreePull, from project: String, context: OperationContext
    ) async throws -> NodeBytes {
        try await pass("fs.pull", .filesRead, project, path: tree.path, context) { placed in
            let stream = try await self.open(.treePull, tree, placed, context)
            // The first bytes are awaited, so that a missing path is an error and not an empty archive.
            let first = try await NodeBytes.Iterator.next(of: stream)
            return (NodeBytes(first: first, stream: stream, metrics: self.metrics), [:])
        }
    }

    /// Writes one file, atomically, from the bytes of a body. Needs `files:write`.
    public func upload<Body: AsyncSequence & Sendable>(
        _ file: FileUpload, _ body: Body, to project: String, context: OperationContext
    ) async throws -> FileWriteResult where Body.Element == ByteBuffer {
        try await pass("fs.upload", .filesWrite, project, path: file.path, context) { placed in
            let stream = try await self.open(.fileUpload, file, placed, context)
            let limit = Limits.rawFileBytes
            let result = try await self.send(
                body, on: stream, limit: limit, returning: FileWriteResult.self)
            return (result, ["bytes": .integer(Int64(result.sizeBytes))])
        }
    }

    /// Unpacks a tar archive below a path. Needs `files:write`.
    public func push<Body: AsyncSequence & Sendable>(
        _ tree: TreePush, _ body: Body, to project: String, context: OperationContext
    ) async throws -> TreeResult where Body.Element == ByteBuffer {
        try await pass("fs.push", .filesWrite, project, path: tree.path, context) { placed in
            try await self.projects.kills.checkStart(placed.project)
            let stream = try await self.open(.treePush, tree, placed, context)
            let limit = Limits.treeBytes
            let result = try await self.send(body, on: stream, limit: limit, returning: TreeResult.self)
            return (result, ["files": .integer(Int64(result.files)), "bytes": .integer(result.sizeBytes)])
        }
    }

    /// Writes a content that is at hand. The caller has passed the gate already.
    func write(
        _ file: FileUpload, content: ByteBuffer, to placed: PlacedProject, context: OperationContext
    ) async throws -> FileWriteResult {
        let stream = try await open(.fileUpload, file, placed, context)
        let body = AsyncStream<ByteBuffer> { continuation in
            continuation.yield(content)
            continuation.finish()
        }
        return try await send(
            body, on: stream, limit: Limits.fileWriteBytes, returning: FileWriteResult.self)
    }

    /// What changes below a directory, from now on. Needs `files:read`.
    public func watch(
        _ watch: FileWatch, of project: String, context: OperationContext
    ) async throws -> FileWatchEvents {
        try await pass("fs.watch", .filesRead, project, path: watch.path, context) { placed in
            let stream = try await self.open(.fsWatch, watch, placed, context)
            _ = try await Self.message(of: Empty.self, from: stream)
            return (FileWatchEvents(stream: stream), [:])
        }
    }

    // MARK: streams

    /// The caller has passed the gate already; so it is with the next two.
    func open(
        _ method: NodeMethod, _ arguments: some Codable & Sendable, _ placed: PlacedProject,
        _ context: OperationContext
    ) async throws -> MuxStream {
        let call = FileCall(project: placed.project.id, arguments: arguments)
        return try await placed.client.open(method, call, request: context.requestID)
    }

    /// Sends a body while waiting for the answer, since the node may refuse before it has read everything.
    func send<Body: AsyncSequence & Sendable, Value: Codable & Sendable>(
        _ body: Body, on stream: MuxStream, limit: Int = .max, returning: Value.Type
    ) async throws -> Value where Body.Element == ByteBuffer {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                do {
                    try await self.feed(body, to: stream, limit: limit)
                } catch is NodeTakesNoMore {
                    // Why it does not is what its answer says.
                }
                return nil
            }
            group.addTask { try await Self.message(of: Value.self, from: stream) }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let value = result { return value }
            }
            throw FastableError(.internal, "The node ended the transfer without an answer. Try again.")
        }
    }

    private func feed<Body: AsyncSequence>(
        _ body: Body, to stream: MuxStream, limit: Int
    ) async throws where Body.Element == ByteBuffer {
        var sent = 0
        for try await bytes in body {
            sent += bytes.readableBytes
            guard sent <= limit else {
                throw FastableError(
                    .tooLarge, "The upload is larger than \(limit) bytes, which is the most.",
                    details: ["limit": .integer(Int64(limit))])
            }
            do {
                try await stream.send(data: bytes, channel: 0)
            } catch is FastableError {
                throw NodeTakesNoMore()
            }
            metrics.add(.transferredBytes, Double(bytes.readableBytes), ["in"])
        }
        do { try await stream.finish() } catch is FastableError { throw NodeTakesNoMore() }
    }

    private struct NodeTakesNoMore: Error {}

    static func message<Value: Codable & Sendable>(
        of type: Value.Type, from stream: MuxStream
    ) async throws -> Value {
        while let event = try await stream.next() {
            guard case .message(let payload) = event else { continue }
            return try JSON.decode(NodeReply<Value>.self, from: Data(buffer: payload)).get()
        }
        throw FastableError(.internal, "The node ended the transfer without an answer. Try again.")
    }

    private func pass<Value: Sendable>(
        _ name: String, _ scope: Scope, _ project: String, path: String?, _ context: OperationContext,
        _ body: @Sendable (PlacedProject) async throws -> (Value, [String: JSONValue])
    ) async throws -> Value {
        let subject = OperationGate.Subject(operation: name, scope: scope, isMutating: scope == .filesWrite)
        return try await gate.pass(subject, context) {
            let found = try await projects.resolve(project, for: context.principal)
            return (found, found.id, Operation.Note.path(path))
        } handle: { found in
            try await body(try await projects.prepared(found, request: context.requestID, telling: context.events))
        }
    }
}
