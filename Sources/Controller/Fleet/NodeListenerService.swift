public import FastableCore
public import FastableIdentity
import FastableWire
import FoundationEssentials
public import Logging
import NIOCore
import NIOPosix
import NIOSSL
public import ServiceLifecycle

/// The listener that nodes dial: TLS 1.3, a certificate of our authority, nothing else is served on it.
public struct NodeListenerService: Service {
    private let address: HostPort
    private let credential: ServerCredential
    private let authorityPEM: String
    private let registry: NodeRegistry
    private let delegate: any FleetDelegate
    private let logger: Logger
    private let onListening: @Sendable (Int) async -> Void
    /// How long a link may be silent before its node says hello; tests shorten it.
    package var helloDeadline = Duration.seconds(Limits.linkSilenceSeconds)

    /// - Parameters:
    ///   - credential: shown to the nodes; its names are what they verify.
    ///   - authorityPEM: whose certificates are let in.
    ///   - onListening: called once, when nodes can dial, with the port that was taken.
    public init(
        address: HostPort, credential: ServerCredential, authorityPEM: String, registry: NodeRegistry,
        delegate: any FleetDelegate, logger: Logger, onListening: @escaping @Sendable (_ port: Int) async -> Void
    ) {
        self.address = address
        self.credential = credential
        self.authorityPEM = authorityPEM
        self.registry = registry
        self.delegate = delegate
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until shutdown, then closes every link. Throws `conflict` when the port is taken.
    public func run() async throws {
        let configuration = try TLSProfiles.nodeListener(credential, clientAuthority: authorityPEM)
        let listener = try await LinkListener.bind(
            host: address.host, port: address.port, sslContext: try NIOSSLContext(configuration: configuration),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            authorize: { certificate in
                let node = try await delegate.authorizeNode(certificateDER: certificate)
                let shown = try NodeCertificate(peerCertificateDER: certificate, at: Date())
                return AdmittedNode(id: node, certificateDER: certificate, serial: shown.serial)
            },
            onRefused: { remote, error in
                delegate.linkRefused(remoteAddress: remote?.description ?? "unknown", reason: error.description)
            })
        await onListening(listener.localAddress.port ?? address.port)
        await withGracefulShutdownHandler {
            await listener.run { connection, node, remote in
                await NodeLinkServer(
                    admitted: node, remoteAddress: remote?.description ?? "unknown", connection: connection,
                    registry: registry, delegate: delegate, helloDeadline: helloDeadline, logger: logger
                ).run()
            }
        } onGracefulShutdown: {
            Task { await listener.shutdown() }
        }
    }
}
