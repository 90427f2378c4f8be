public import ControllerDomain
public import ControllerServices
public import FastableCore
public import FoundationEssentials
public import NIOCore

/// Raw bytes in pieces. Dropping the sequence, or cancelling the task that iterates it, ends the transfer.
public typealias ByteSequence = any AsyncSequence<ByteBuffer, any Error> & Sendable

/// Changes of files, those of a moment together. Dropping the sequence ends the watch.
public typealias FileEvents = any AsyncSequence<[FileWatchEvent], any Error> & Sendable

/// What happens, as it is told. Dropping the sequence ends it.
public typealias PlatformEvents = any AsyncSequence<EventFeed.Element, any Error> & Sendable

/// Everything that the doors need of the controller. `ControllerServices` implements it; tests put a small catalogue in its place.
///
/// Whatever takes a context checks scope and workspace itself and throws `FastableError`.
public protocol APIBackend: Sendable {
    /// Sorted by name; the same for as long as the program runs.
    var operations: [Operation] { get }

    /// Runs an operation and gives its answer as JSON. Ends, and kills a command that it runs, when its task is cancelled.
    func run(_ operation: String, input: Data, context: OperationContext) async throws -> Data

    /// The holder of a bearer token; `nil` is a request without one. Throws `unauthenticated`.
    func authenticate(_ token: Secret?) async throws -> Principal

    /// What ends when its token is revoked.
    var openStreams: OpenStreams { get }

    func execStatus(_ exec: ExecID, context: OperationContext) async throws -> ExecReport
    func execOutput(
        _ exec: ExecID, stream: ExecStreamName, from start: OutputStart, follow: Bool, follower: String?,
        context: OperationContext
    ) async throws -> ExecBytes

    /// Follows a command, or `only` one stream of it, and writes to it when `input` says from where.
    func execAttach(
        _ exec: ExecID, from start: OutputStart, input: ExecInputStart?, only stream: ExecStreamName?,
        follower: String?, context: OperationContext
    ) async throws -> ExecAttachment

    /// `project` is a name or an id, here and below.
    func download(_ file: FileDownload, of project: String, context: OperationContext) async throws -> FileBytes
    func upload(
        _ file: FileUpload, to project: String, bytes: ByteSequence, context: OperationContext
    ) async throws -> FileWriteResult
    func pushTree(
        _ tree: TreePush, to project: String, archive: ByteSequence, context: OperationContext
    ) async throws -> TreeResult
    func pullTree(_ tree: TreePull, of project: String, context: OperationContext) async throws -> ByteSequence

    /// What changes below a directory, from now on.
    func watch(_ watch: FileWatch, of project: String, context: OperationContext) async throws -> FileEvents

    /// What happens in the caller's workspace.
    func follow(_ query: EventQuery, context: OperationContext) async throws -> PlatformEvents

    /// Lets a node join with its join token: JSON in, JSON out.
    func enroll(_ request: Data, remoteAddress: String, requestID: RequestID) async throws -> Data

    func readiness() async -> Readiness
    /// The Prometheus text format.
    func metricsText() async -> String
}

/// One output stream of a command.
public struct ExecBytes: Sendable {
    /// Above the wanted offset when older bytes are no longer kept.
    public var firstOffset: UInt64
    public var bytes: ByteSequence

    public init(firstOffset: UInt64, bytes: ByteSequence) {
        self.firstOffset = firstOffset
        self.bytes = bytes
    }
}

/// A file, or a range of it.
public struct FileBytes: Sendable {
    public var head: FileDownloadHead
    public var bytes: ByteSequence

    public init(head: FileDownloadHead, bytes: ByteSequence) {
        self.head = head
        self.bytes = bytes
    }
}

/// Whether the controller can do its work.
public struct Readiness: Codable, Sendable, Equatable {
    /// The store takes writes.
    public var storeWritable: Bool
    public var nodesConnected: Int

    public init(storeWritable: Bool, nodesConnected: Int) {
        self.storeWritable = storeWritable
        self.nodesConnected = nodesConnected
    }
}
