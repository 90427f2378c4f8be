public import ControllerDomain
public import ControllerServices
public import FastableCore
public import FoundationEssentials
import NIOCore

/// The controller behind the doors.
extension ControllerServices: APIBackend {
    public var operations: [Operation] { catalog.operations }

    public func run(_ operation: String, input: Data, context: OperationContext) async throws -> Data {
        try await catalog.run(operation, input: input, context: context)
    }

    public func authenticate(_ token: Secret?) async throws -> Principal {
        guard let token else { throw authenticator.missing() }
        return try await authenticator.authenticate(token)
    }

    public var openStreams: OpenStreams { authenticator.openStreams }

    public func execStatus(_ exec: ExecID, context: OperationContext) async throws -> ExecReport {
        try await execs.status(of: exec, context: context)
    }

    public func execOutput(
        _ exec: ExecID, stream: ExecStreamName, from start: OutputStart, follow: Bool, follower: String?,
        context: OperationContext
    ) async throws -> ExecBytes {
        let output = try await execs.output(
            of: exec, stream: stream, from: start, follow: follow, follower: follower, context: context)
        return ExecBytes(firstOffset: output.firstOffset, bytes: UnbrokenOutput(output: output))
    }

    public func execAttach(
        _ exec: ExecID, from start: OutputStart, input: ExecInputStart?, only stream: ExecStreamName?,
        follower: String?, context: OperationContext
    ) async throws -> ExecAttachment {
        try await execs.attach(exec, from: start, input: input, only: stream, follower: follower, context: context)
    }

    public func download(
        _ file: FileDownload, of project: String, context: OperationContext
    ) async throws -> FileBytes {
        let (head, bytes) = try await transfers.download(file, from: project, context: context)
        return FileBytes(head: head, bytes: bytes)
    }

    public func upload(
        _ file: FileUpload, to project: String, bytes: ByteSequence, context: OperationContext
    ) async throws -> FileWriteResult {
        try await transfers.upload(file, bytes, to: project, context: context)
    }

    public func pushTree(
        _ tree: TreePush, to project: String, archive: ByteSequence, context: OperationContext
    ) async throws -> TreeResult {
        try await transfers.push(tree, archive, to: project, context: context)
    }

    public func pullTree(
        _ tree: TreePull, of project: String, context: OperationContext
    ) async throws -> ByteSequence {
        try await transfers.pull(tree, from: project, context: context)
    }

    public func watch(
        _ watch: FileWatch, of project: String, context: OperationContext
    ) async throws -> FileEvents {
        try await transfers.watch(watch, of: project, context: context)
    }

    public func follow(_ query: EventQuery, context: OperationContext) async throws -> PlatformEvents {
        try await events.follow(query, context: context)
    }

    public func enroll(_ request: Data, remoteAddress: String, requestID: RequestID) async throws -> Data {
        let answer = try await enrollment.enroll(
            try JSON.decode(from: request), remoteAddress: remoteAddress, requestID: requestID)
        return try JSON.encode(answer)
    }

    public func readiness() async -> Readiness {
        let isWritable = (try? await checkReady()) != nil
        return Readiness(storeWritable: isWritable, nodesConnected: Int(metrics.value(.nodesConnected)))
    }

    public func metricsText() async -> String { metrics.text() }
}

/// Output as plain bytes. Where some are missing it fails: a body without its middle would look whole.
private struct UnbrokenOutput: AsyncSequence, Sendable {
    let output: ExecOutput

    struct AsyncIterator: AsyncIteratorProtocol {
        var base: ExecOutput.Iterator

        mutating func next() async throws -> ByteBuffer? {
            switch try await base.next() {
            case .data(_, let bytes): return bytes
            case .gap(let from, let to):
                throw FastableError(
                    .gone, "Output between \(from) and \(to) is no longer kept. Go on with offset=\(to).",
                    details: ["from": .integer(Int64(clamping: from)), "to": .integer(Int64(clamping: to))])
            case .finished, nil: return nil
            }
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: output.makeAsyncIterator()) }
}
