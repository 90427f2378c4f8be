import ControllerAPI
import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import Synchronization

/// A small catalogue and a file store in memory behind the real doors.
final class TestBackend: APIBackend {
    typealias Handler = @Sendable (JSONValue, OperationContext) async throws -> JSONValue

    static let token = "fst_" + String(repeating: "a", count: 43)
    static let readerToken = "fst_" + String(repeating: "b", count: 43)
    /// Good for some seconds from each request on: time enough for its answer to begin on a busy machine.
    static let briefToken = "fst_" + String(repeating: "c", count: 43)
    static let exec = ExecID()

    let operations: [Operation]
    let probe = Probe()
    let openStreams = OpenStreams()
    let files = Mutex<[String: [UInt8]]>([:])
    let storeWritable = Mutex(true)
    /// What `pullTree` and `execOutput` give, one piece after the other.
    let pieces = Mutex<[ByteBuffer]>([])
    /// What `follow` gives.
    let feed = Mutex<[EventFeed.Element]>([])
    /// What `execAttach` attaches to.
    let node = TestNode()
    private let handlers: [String: Handler]

    init() {
        let entries = TestOperations.all(probe)
        operations = entries.map(\.operation).sorted { $0.name < $1.name }
        handlers = Dictionary(uniqueKeysWithValues: entries.map { ($0.operation.name, $0.handler) })
    }

    func run(_ name: String, input: Data, context: OperationContext) async throws -> Data {
        guard let operation = operations.first(where: { $0.name == name }), let handler = handlers[name] else {
            throw FastableError.missing(.operation, name)
        }
        try Access.authorize(context.principal, operation.scope)
        let value = try JSONParser.parse(input)
        try operation.inputSchema.validate(value)
        return try JSON.encode(try await handler(value, context))
    }

    func authenticate(_ token: Secret?) async throws -> Principal {
        let scopes: [String: Set<Scope>] = [
            Self.token: [.admin], Self.readerToken: [.filesRead], Self.briefToken: [.admin],
        ]
        guard let text = token?.reveal(), let scopes = scopes[text] else {
            throw FastableError(.unauthenticated, "No token.")
        }
        return Principal(
            token: Self.tokenID, workspace: Self.workspace, name: "test", scopes: scopes,
            expiresAt: text == Self.briefToken ? Date().addingTimeInterval(8) : nil)
    }

    static let tokenID = TokenID()
    private static let workspace = WorkspaceID()

    // MARK: execs

    func execStatus(_ exec: ExecID, context: OperationContext) async throws -> ExecReport {
        guard exec == Self.exec else { throw FastableError.missing(.exec, exec.description) }
        let report: JSONValue = [
            "execId": .string(exec.description), "project": .string(ProjectID().description),
            "node": .string(NodeID().description), "running": true,
        ]
        return try JSON.decode(from: try JSON.encode(report))
    }

    func execOutput(
        _ exec: ExecID, stream: ExecStreamName, from start: OutputStart, follow: Bool, follower: String?,
        context: OperationContext
    ) async throws -> ExecBytes {
        guard exec == Self.exec else { throw FastableError.missing(.exec, exec.description) }
        let place =
            switch start {
            case .at(let offsets): Int64(stream == .stdout ? offsets.stdout : offsets.stderr)
            case .last(let bytes): -Int64(bytes)
            }
        probe.note("\(stream.rawValue) \(place) \(follow)")
        let all = pieces.withLock { $0 }
        return ExecBytes(
            firstOffset: UInt64(max(place, 4)),
            bytes: PieceSequence(pieces: all, ending: follow ? .never : .ends, probe: probe))
    }

    func execAttach(
        _ exec: ExecID, from start: OutputStart, input: ExecInputStart?, only stream: ExecStreamName?,
        follower: String?, context: OperationContext
    ) async throws -> ExecAttachment {
        try Access.authorize(context.principal, .exec)
        guard exec == Self.exec else { throw FastableError.missing(.exec, exec.description) }
        return try await node.attach(
            exec, TestCommand.Attach(start: start, input: input, only: stream))
    }

    // MARK: files

    func download(
        _ file: FileDownload, of project: String, context: OperationContext
    ) async throws -> FileBytes {
        guard project == "demo" else { throw FastableError.missing(.project, project) }
        guard let bytes = files.withLock({ $0[file.path] }) else {
            throw FastableError(.notFound, "There is no file ‘\(file.path)’.")
        }
        let size = Int64(bytes.count)
        let offset = file.offset ?? 0
        guard offset <= size else {
            throw FastableError(.unprocessable, "Beyond the end.", details: ["field": "offset"])
        }
        let length = min(file.length ?? .max, size - offset)
        let part = ByteBuffer(bytes: bytes[Int(offset)..<Int(offset + length)])
        return FileBytes(
            head: FileDownloadHead(sizeBytes: size, offset: offset, length: length, version: "v1-2-3-\(size)"),
            bytes: PieceSequence(pieces: length > 0 ? [part] : [], ending: .ends, probe: probe))
    }

    func upload(
        _ file: FileUpload, to project: String, bytes: ByteSequence, context: OperationContext
    ) async throws -> FileWriteResult {
        guard !file.path.hasPrefix("..") else { throw FastableError(.forbidden, "Outside.") }
        probe.note("ifMatch \(file.ifMatch ?? "nil") executable \(file.executable ?? false)")
        var content: [UInt8] = []
        for try await part in bytes { content.append(contentsOf: part.readableBytesView) }
        let whole = content
        let existed = files.withLock { $0.updateValue(whole, forKey: file.path) != nil }
        return FileWriteResult(path: file.path, sha256: "", sizeBytes: content.count, created: !existed)
    }

    func pushTree(
        _ tree: TreePush, to project: String, archive: ByteSequence, context: OperationContext
    ) async throws -> TreeResult {
        probe.note("push \(tree.compression?.rawValue ?? "nil")")
        var size = 0
        for try await part in archive { size += part.readableBytes }
        return TreeResult(files: tree.replace == true ? 2 : 1, sizeBytes: Int64(size))
    }

    func pullTree(_ tree: TreePull, of project: String, context: OperationContext) async throws -> ByteSequence {
        probe.note("pull \(tree.compression?.rawValue ?? "nil")")
        return PieceSequence(
            pieces: pieces.withLock { $0 }, ending: tree.path == "broken" ? .fails : .ends, probe: probe)
    }

    func watch(_ watch: FileWatch, of project: String, context: OperationContext) async throws -> FileEvents {
        guard project == "demo" else { throw FastableError.missing(.project, project) }
        guard watch.path != "file" else { throw FastableError(.unprocessable, "‘file’ is not a directory.") }
        let pieces = pieces.withLock { $0 }
        let source = PieceSequence(pieces: pieces, ending: watch.path == "broken" ? .fails : .never, probe: probe)
        return EventSequence(source: source)
    }

    // MARK: events

    func follow(_ query: EventQuery, context: OperationContext) async throws -> PlatformEvents {
        try Access.authorize(context.principal, .projectsRead)
        let after = query.after.map(String.init) ?? "nil"
        probe.note("events \(query.project ?? "nil") \(query.kinds) \(after) \(query.follows)")
        return FeedSequence(elements: feed.withLock { $0 }, ending: query.follows ? .never : .ends, probe: probe)
    }

    // MARK: the system

    func enroll(_ request: Data, remoteAddress: String, requestID: RequestID) async throws -> Data {
        let value = try JSONParser.parse(request)
        guard value["tokenID"] == "good" else { throw FastableError(.unauthenticated, "The join token is not valid.") }
        return try JSON.encode(["from": remoteAddress])
    }

    func readiness() async -> Readiness { Readiness(storeWritable: storeWritable.withLock { $0 }, nodesConnected: 1) }
    func metricsText() async -> String { "fastable_up 1\n" }
}

/// A file was made for each piece, whose text is its name.
struct EventSequence: AsyncSequence, Sendable {
    let source: PieceSequence

    struct AsyncIterator: AsyncIteratorProtocol {
        var base: PieceSequence.AsyncIterator

        mutating func next() async throws -> [FileWatchEvent]? {
            try await base.next().map { [FileWatchEvent(kind: .created, path: String(buffer: $0))] }
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: source.makeAsyncIterator()) }
}

struct FeedSequence: AsyncSequence, Sendable {
    let elements: [EventFeed.Element]
    let ending: PieceSequence.Ending
    let probe: Probe

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<EventFeed.Element>
        var end: PieceSequence.AsyncIterator

        mutating func next() async throws -> EventFeed.Element? {
            if let element = rest.popFirst() { return element }
            _ = try await end.next()
            return nil
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        let end = PieceSequence(pieces: [], ending: ending, probe: probe)
        return AsyncIterator(rest: elements[...], end: end.makeAsyncIterator())
    }
}

/// Gives its pieces, and then ends, fails, or stays silent until it is cancelled.
struct PieceSequence: AsyncSequence, Sendable {
    enum Ending { case ends, fails, never }

    let pieces: [ByteBuffer]
    let ending: Ending
    let probe: Probe

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<ByteBuffer>
        let ending: Ending
        let probe: Probe

        mutating func next() async throws -> ByteBuffer? {
            if let piece = rest.popFirst() { return piece }
            switch ending {
            case .ends: return nil
            case .fails: throw FastableError(.unavailable, "The link is lost.")
            case .never:
                do {
                    try await Task.sleep(for: .seconds(3600))
                } catch {
                    probe.note("source cancelled")
                    throw error
                }
                return nil
            }
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(rest: pieces[...], ending: ending, probe: probe)
    }
}
