public import FastableCore
import FastableIdentity
public import FastableWire
import FoundationEssentials
public import Logging
import NIOCore
import NIOPosix
import NIOSSL
public import NodeSandbox
public import ServiceLifecycle

/// Keeps this node linked to its controller: dials, says hello, serves what the controller asks, reports, renews its certificate, and
/// dials again when the link is lost. Containers and commands never notice.
public struct NodeLinkService: Service {
    private let identityDirectory: String
    private let serve: @Sendable (MuxStream) async -> Void
    private let welcomed: @Sendable (KillSwitchSet) async -> Void
    private let departed: @Sendable ([ProjectDeparture]) async throws -> Void
    private let reporter: NodeReporter
    private let transitions: TransitionJournal
    private let logger: Logger

    /// - Parameters:
    ///   - transitions: what the controller is told of containers.
    ///   - welcomed: puts the controller's kill switches in force, before anything of it is served.
    ///   - departed: sets aside what other nodes have by now, before anything is served. When it throws the link is given up.
    ///   - serve: answers every stream that the controller opens.
    public init(
        identityDirectory: String, reporter: NodeReporter, transitions: TransitionJournal = TransitionJournal(),
        logger: Logger, welcomed: @escaping @Sendable (KillSwitchSet) async -> Void = { _ in },
        departed: @escaping @Sendable ([ProjectDeparture]) async throws -> Void = { _ in },
        serve: @escaping @Sendable (MuxStream) async -> Void
    ) {
        self.departed = departed
        self.identityDirectory = identityDirectory
        self.serve = serve
        self.welcomed = welcomed
        self.reporter = reporter
        self.transitions = transitions
        self.logger = logger
    }

    public func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await dialForEver() }
        } catch is CancellationError {
            return
        }
    }

    private func dialForEver() async throws {
        var backoff = ReconnectBackoff()
        while true {
            try Task.checkCancellation()
            do {
                let (link, identity, generation) = try await dial()
                let linkedAt = ContinuousClock.now
                // Only a link that held counts as success, or a controller that cuts at once would be dialled without a pause.
                defer {
                    if ContinuousClock.now - linkedAt > .seconds(Limits.pingIntervalSeconds) { backoff.connected() }
                }
                defer { reportStuck(link) }
                try await hold(link, identity: identity, generation: generation)
            } catch {
                try Task.checkCancellation()
                let failure = FastableError.unexpected(error, doing: "talking to the controller")
                logger.warning("The controller is not linked.", metadata: ["cause": "\(failure)"])
            }
            try await Task.sleep(for: backoff.nextPause(random: Double.random(in: 0..<1)))
        }
    }

    /// They hold files and memory until they end, so somebody should know.
    private func reportStuck(_ link: MuxConnection) {
        guard link.handlerCount > 0 else { return }
        logger.error(
            "Requests of the last link do not end although they were cancelled.",
            metadata: ["count": "\(link.handlerCount)"])
    }

    private func dial() async throws -> (link: MuxConnection, identity: NodeIdentity, generation: UInt64) {
        guard let identity = try NodeIdentity.load(directory: identityDirectory) else {
            throw FastableError(
                .unauthenticated, "This host has not joined. Run: fastable-node join --token-file FILE")
        }
        guard !identity.isExpired(at: Date()) else {
            throw FastableError(
                .unauthenticated,
                "The node's certificate expired while it was away. On the controller, run: fastable node token --node "
                    + "\(identity.nodeID). Then here: fastable-node join --token-file FILE. Its projects are kept.")
        }
        let address = try LinkAddress.load(directory: identityDirectory)
        // Before the connection is made: nothing may fail between making it and holding it.
        let generation = try Generation(path: identityDirectory + "/generation").next()
        let link = try await LinkDialer.connect(
            host: address.host, port: address.port, serverName: TLSProfiles.serverName(for: address.host),
            sslContext: try NIOSSLContext(configuration: try TLSProfiles.nodeDialer(identity)),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton)
        return (link, identity, generation)
    }

    /// One link, from hello to its end.
    private func hold(_ connection: MuxConnection, identity: NodeIdentity, generation: UInt64) async throws {
        let opening = LinkOpening()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await connection.run(onLoop: true) { stream in
                    // What was switched off while the node was away must not start first.
                    if await opening.isOpen { await serve(stream) } else { stream.reset(Self.ended) }
                }
            }
            group.addTask { try await converse(connection, opening, identity: identity, generation: generation) }
            defer {
                opening.settle(false)
                group.cancelAll()
            }
            do {
                try await group.next()
            } catch {
                connection.close(reason: "the node ends the link")
                throw error
            }
            connection.close(reason: "the node ends the link")
        }
    }

    /// The node's own part of the conversation: hello, then reports and renewal.
    private func converse(
        _ connection: MuxConnection, _ opening: LinkOpening, identity: NodeIdentity, generation: UInt64
    ) async throws {
        let calls = ControllerCalls(connection: connection)
        let hello = NodeHello(generation: generation, facts: await reporter.facts())
        let asked = ContinuousClock.now
        let welcome = try await calls.call(.hello, hello, returning: NodeWelcome.self)
        // First of all: what runs here must not run beside what another node runs of it.
        if let projects = welcome.departed { try await departed(projects) }
        if let switches = welcome.switches { await welcomed(switches) }
        if let lease = welcome.lease { reporter.take(lease, asked: asked) }
        opening.settle(true)
        logger.info(
            "Linked to the controller.",
            metadata: ["node": "\(welcome.nodeID)", "linkVersion": "\(welcome.version)", "generation": "\(generation)"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await reporter.run(over: calls) }
            group.addTask { try await TransitionTeller(journal: transitions, logger: logger).run(over: calls) }
            group.addTask { try await renew(identity, over: calls) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private static let ended = FastableError(.unavailable, "The link to the node ended. Try again.")

    /// Renews the certificate at two thirds of its life; the next dial uses the new one.
    private func renew(_ identity: NodeIdentity, over calls: ControllerCalls) async throws {
        var identity = identity
        while true {
            // The wall clock is asked again each minute: it may be set, and a laptop may sleep.
            while !identity.renewalDue(at: Date()) { try await Task.sleep(for: .seconds(60)) }
            do {
                let request = CertificateRequest(signingRequest: try identity.key.signingRequest())
                let answer = try await calls.call(.renewCertificate, request, returning: CertificateAnswer.self)
                identity = try identity.renewed(by: answer, at: Date())
                try identity.save(directory: identityDirectory)
                logger.info("The certificate was renewed.", metadata: ["expires": "\(identity.expires)"])
            } catch {
                // A lost link ends this task too. Anything else, a full disk for example, is no reason to lose the link.
                try Task.checkCancellation()
                logger.error("The certificate could not be renewed.", metadata: ["cause": "\(error)"])
                try await Task.sleep(for: .seconds(max(60, (error as? FastableError)?.retryAfterSeconds ?? 0)))
            }
        }
    }
}
