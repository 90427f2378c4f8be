public import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore
import NIOFoundationEssentialsCompat
import Synchronization

/// What the fleet needs from the rest of the controller.
public protocol FleetDelegate: Sendable {
    /// The node a client certificate stands for; throws when it was revoked or never issued.
    func authorizeNode(certificateDER: [UInt8]) async throws -> NodeID
    /// - Parameter serial: of the certificate that the link stands on.
    func renewCertificate(
        node: NodeID, serial: String, request: CertificateRequest
    ) async throws -> RenewedCertificate
    /// What the node puts in force before it serves anything of this controller.
    func switches(for node: NodeID) async throws -> KillSwitchSet
    /// A link of the node is registered, and nothing has come over it yet: from here on nobody starts what it has elsewhere. Gives what
    /// others have started meanwhile, and for how long the node may go on by itself. The node is not let in when this throws.
    func nodeReturns(_ node: NodeID, keepsLease: Bool) async throws -> (departed: [ProjectDeparture], lease: NodeLease?)
    /// Each report renews it.
    func lease(of node: NodeID) -> NodeLease?
    /// Names of the images that no node may drop; `nil` when that cannot be told.
    func imagesInUse() async -> [String]?
    func nodeConnected(_ node: NodeID, facts: NodeFacts) async
    func nodeReported(_ node: NodeID, report: NodeReport) async
    /// Keeps what the node tells of its containers; it tells it again when this throws.
    func nodeTold(_ node: NodeID, _ batch: TransitionBatch) async throws
    func nodeDisconnected(_ node: NodeID) async
    /// A connection that did not become a link: for the log's reader and the counters.
    func linkRefused(remoteAddress: String, reason: String)
}

/// What a node is answered, and the serial of its new certificate.
public struct RenewedCertificate: Sendable {
    public var answer: CertificateAnswer
    public var serial: String

    public init(answer: CertificateAnswer, serial: String) {
        self.answer = answer
        self.serial = serial
    }
}

/// A node that the upgrade let in, and the certificate it showed.
struct AdmittedNode: Sendable {
    var id: NodeID
    var certificateDER: [UInt8]
    var serial: String
}

/// The controller's end of one node's link: handshake, reports, renewal, until it closes.
struct NodeLinkServer: Sendable {
    let admitted: AdmittedNode
    let remoteAddress: String
    let connection: MuxConnection
    let registry: NodeRegistry
    let delegate: any FleetDelegate
    let helloDeadline: Duration
    let logger: Logger

    private let greeting = Greeting()
    /// A link may outlive the certificate it began with; from then on it stands on the last one that it got.
    private let renewed = RenewedSerial()
    private var node: NodeID { admitted.id }

    init(
        admitted: AdmittedNode, remoteAddress: String, connection: MuxConnection, registry: NodeRegistry,
        delegate: any FleetDelegate, helloDeadline: Duration, logger: Logger
    ) {
        self.admitted = admitted
        self.remoteAddress = remoteAddress
        self.connection = connection
        self.registry = registry
        self.delegate = delegate
        self.helloDeadline = helloDeadline
        self.logger = logger
    }

    /// Returns when the link is closed, by whichever side.
    func run() async {
        let patience = Task {
            try await Task.sleep(for: helloDeadline)
            let silence = FastableError(.timeout, "The node did not say hello within \(helloDeadline).")
            if refuse(silence) { connection.close(reason: silence.message) }
        }
        defer { patience.cancel() }
        do {
            try await connection.run { stream in await self.serve(stream) }
        } catch {
            logger.info("The link ended.", metadata: ["node": "\(node)", "cause": "\(error)"])
        }
        if let generation = greeting.generation, registry.unregister(node, generation: generation) {
            await delegate.nodeDisconnected(node)
        }
    }

    /// Counts a link on which its node was not welcomed; whoever gets `true` closes it.
    private func refuse(_ error: FastableError) -> Bool {
        guard greeting.refuse() else { return false }
        delegate.linkRefused(remoteAddress: remoteAddress, reason: "\(node): \(error)")
        return true
    }

    private func serve(_ stream: MuxStream) async {
        do {
            let opening = Data(buffer: stream.opening)
            let head = try NodeRequestHead(opening: opening)
            switch head.method {
            case .hello: try await answer(stream, try await welcome(opening))
            case .report: try await answer(stream, try await report(opening))
            case .transitions: try await answer(stream, try await keepTransitions(opening))
            case .renewCertificate: try await answer(stream, try await renew(opening))
            case .containerSuspend, .containerResume, .containerStop, .containerExplain, .containerKeepAwake,
                .containerPolicy, .containerLimits, .containerEnsure, .containerStatus, .projectPrepare, .projectDelete,
                .projectRelease, .projectSetAside, .execStart,
                .execAttach,
                .execStatus, .execKill, .execQuery, .fsRead, .fsWrite, .fsEdit, .fsList, .fsGlob, .fsGrep,
                .fsGlobStream, .fsGrepStream, .fsDelete,
                .fsStat, .fsMakeDirectory, .fsMove, .fsCopy, .fsChangeMode, .fsWatch, .fileDownload, .fileUpload,
                .treePush, .treePull, .snapshotRead, .snapshotRestore, .checkpointCreate, .checkpointRollback,
                .checkpointList, .checkpointRemove, .projectFork, .imageList, .imageAdd, .imageRemove, .killApply,
                .idleSweep:
                throw FastableError(.invalid, "‘\(head.method.rawValue)’ is not for the controller to serve.")
            }
        } catch {
            let failure = FastableError.unexpected(error, doing: "serving the node")
            logger.warning("A node's request failed.", metadata: ["node": "\(node)", "error": "\(failure)"])
            let isRefusal = refuse(failure)
            try? await answer(stream, NodeReply<Empty>.failure(failure))
            guard isRefusal else { return }
            if greeting.generation == nil {
                // Closing drops what is under way. The node reads why and hangs up by itself; this waits for that, for a while.
                try? await Task.sleep(for: .seconds(Limits.linkCloseSeconds))
            }
            connection.close(reason: failure.message)
        }
    }

    private func welcome(_ opening: Data) async throws -> NodeReply<NodeWelcome> {
        let hello = try NodeRequest<NodeHello>(opening: opening).arguments
        guard greeting.begin() else { throw FastableError(.invalid, "A link says hello once.") }
        guard let version = LinkVersion.negotiate(peerOldest: hello.oldestVersion, peerCurrent: hello.currentVersion)
        else {
            throw FastableError(
                .unprocessable,
                "The node speaks link versions \(hello.oldestVersion) to \(hello.currentVersion), this controller "
                    + "\(LinkVersion.oldest) to \(LinkVersion.current). Upgrade the older one.")
        }
        try registry.register(LinkedNode(node: node, connection: connection), hello: hello, version: version)
        greeting.registered(hello.generation)
        // Whoever removes a node revokes first and cuts then. The node may have been removed since the upgrade: this check
        // sees it, or the removal finds the link that was registered just now.
        _ = try await delegate.authorizeNode(certificateDER: admitted.certificateDER)
        // After the link was registered: what is switched on from now on is sent over it.
        let switches = try await delegate.switches(for: node)
        let (departed, lease) = try await delegate.nodeReturns(node, keepsLease: hello.keepsLease ?? false)
        greeting.complete()
        await delegate.nodeConnected(node, facts: hello.facts)
        logger.info("A node is connected.", metadata: ["node": "\(node)", "generation": "\(hello.generation)"])
        return .success(
            NodeWelcome(version: version, nodeID: node, switches: switches, departed: departed, lease: lease))
    }

    private func report(_ opening: Data) async throws -> NodeReply<NodeReportAnswer> {
        let report = try NodeRequest<NodeReport>(opening: opening).arguments
        // A link that was replaced, or has ended, is promised nothing.
        guard registry.update(node, generation: try greeting.completed(), report: report) else {
            throw FastableError(.unavailable, "The link was replaced by a newer one.")
        }
        let lease = delegate.lease(of: node)
        await delegate.nodeReported(node, report: report)
        let isDropping = (report.facts.diskPressure ?? DiskPressure.none) >= .reclaiming
        return .success(NodeReportAnswer(lease: lease, imagesInUse: isDropping ? await delegate.imagesInUse() : nil))
    }

    private func keepTransitions(_ opening: Data) async throws -> NodeReply<Empty> {
        let batch = try NodeRequest<TransitionBatch>(opening: opening).arguments
        _ = try greeting.completed()
        try await delegate.nodeTold(node, batch)
        return .success(Empty())
    }

    private func renew(_ opening: Data) async throws -> NodeReply<CertificateAnswer> {
        let request = try NodeRequest<CertificateRequest>(opening: opening).arguments
        _ = try greeting.completed()
        let serial = renewed.last ?? admitted.serial
        let certificate = try await delegate.renewCertificate(node: node, serial: serial, request: request)
        renewed.last = certificate.serial
        return .success(certificate.answer)
    }

    private func answer(_ stream: MuxStream, _ reply: NodeReply<some Codable & Sendable>) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(reply)))
        // A node that has its answer may be gone before it hears that nothing follows.
        try? await stream.finish()
    }
}

/// How far a link is with its hello. It is said once, whatever a node sends at the same time.
private final class Greeting: Sendable {
    private enum Phase { case silent, begun, welcomed, refused }

    private struct State {
        var phase = Phase.silent
        var generation: UInt64?
    }

    private let state = Mutex(State())

    /// The generation under which the link was registered, whether it was welcomed or not.
    var generation: UInt64? { state.withLock { $0.generation } }

    /// `false` when a hello came before.
    func begin() -> Bool {
        state.withLock { state in
            guard state.phase == .silent else { return false }
            state.phase = .begun
            return true
        }
    }

    func registered(_ generation: UInt64) { state.withLock { $0.generation = generation } }

    func complete() { state.withLock { if $0.phase == .begun { $0.phase = .welcomed } } }

    /// `false` when the node was welcomed, or refused already.
    func refuse() -> Bool {
        state.withLock { state in
            guard state.phase == .silent || state.phase == .begun else { return false }
            state.phase = .refused
            return true
        }
    }

    /// The generation of a link whose node was welcomed.
    func completed() throws -> UInt64 {
        let (phase, generation) = state.withLock { ($0.phase, $0.generation) }
        guard phase == .welcomed, let generation else { throw FastableError(.invalid, "Say hello first.") }
        return generation
    }
}

private final class RenewedSerial: Sendable {
    private let state = Mutex<String?>(nil)

    var last: String? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
