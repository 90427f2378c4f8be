import ControllerAPI
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableDaemon
import FastableIdentity
import FoundationEssentials
import Logging
import NIOCore

/// Composition only: reads the configuration, builds the services, runs them.
@main
enum Controller {
    static func main() async {
        await DaemonMain.run(ControllerConfiguration.self, compose: compose)
    }

    private static func compose(_ configuration: ControllerConfiguration, _ logger: Logger) async throws -> DaemonPlan {
        let state = configuration.stateDirectory
        try makeStateDirectory(state)
        let lock = try InstanceLock(directory: state, program: "fastable-controller")
        let store = try SQLiteStore(path: state + "/controller.sqlite")
        let authority = try CertificateAuthority.open(directory: state + "/authority", at: Date())
        let registry = NodeRegistry()
        let tokenFile = state + "/admin.token"
        var settings = ControllerServices.Configuration(
            endpoints: configuration.endpoints(
                apiPort: configuration.apiListen.port, nodePort: configuration.nodeListen.port),
            tokenFile: tokenFile, defaultImage: configuration.defaultImage,
            auditRetentionDays: configuration.auditRetentionDays,
            webhooksAllowPrivate: configuration.webhooksAllowPrivate, snapshotDirectory: state + "/snapshots",
            nodeLostAfterSeconds: configuration.nodeLostAfterSeconds)
        settings.setOvercommit(
            memory: configuration.memoryOvercommit, cpus: configuration.cpuOvercommit,
            pids: configuration.pidOvercommit, disk: configuration.diskOvercommit)
        let services = ControllerServices(
            store: store, nodes: registry, authority: authority, configuration: settings, logger: logger)
        try await services.tokens.bootstrapAdminToken(file: tokenFile)

        let announcer = EndpointAnnouncer(configuration: configuration, tokenFile: tokenFile, services: services)
        let nodeListener = NodeListenerService(
            address: configuration.nodeListen,
            credential: try authority.issueServerCredential(names: configuration.nodeListenerNames, at: Date()),
            authorityPEM: authority.pem, registry: registry, delegate: services.fleet, logger: logger
        ) { port in await announcer.nodesListen(port: port) }
        let api = try apiServer(configuration, services, announcer, logger)
        return DaemonPlan(
            services: [services, nodeListener, api],
            ready: {
                await announcer.complete()
                withExtendedLifetime(lock) {}
            },
            healthy: {
                await Liveness.answers(within: .seconds(Limits.watchdogAnswerSeconds)) {
                    (try? await services.checkReady()) != nil
                }
            })
    }

    private static func apiServer(
        _ configuration: ControllerConfiguration, _ services: ControllerServices, _ announcer: EndpointAnnouncer,
        _ logger: Logger
    ) throws -> APIServer {
        var server = APIServerConfiguration(
            host: configuration.apiListen.host, port: configuration.apiListen.port,
            allowPlainHTTP: configuration.allowPlainHTTP, allowedOrigins: configuration.allowedOrigins,
            programVersion: Version.text)
        if let certificate = configuration.tlsCertificate, let key = configuration.tlsKey {
            server.tls = try TLSProfiles.publicAPI(certificateFile: certificate, keyFile: key)
        }
        return try APIServer(server, backend: services, logger: logger) { address in
            await announcer.apiListens(port: address.port ?? 0)
        }
    }

    private static func makeStateDirectory(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw FastableError(
                .unavailable,
                "The state directory ‘\(path)’ cannot be made. Give another with --state-dir, or make it and own it.",
                context: "\(error)")
        }
    }
}
