import FastableCore
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
public import NIOCore
import NIOPosix
public import NIOSSL
public import ServiceLifecycle

/// Where and how the public API listens.
public struct APIServerConfiguration: Sendable {
    /// A host name or an address.
    public var host: String
    /// 0 takes a free port; the callback of the server tells which.
    public var port: Int
    /// `nil` is plain HTTP, which is for loopback addresses.
    public var tls: TLSConfiguration?
    /// Plain HTTP on other addresses: somebody else encrypts in front, or there is no one else on the network.
    public var allowPlainHTTP: Bool
    /// Web origins that may use MCP, beside pages of this machine: `https://console.example.com`.
    public var allowedOrigins: [String]
    public var programVersion: String
    package var sockets = WebSocketSettings()

    public init(
        host: String = "127.0.0.1", port: Int = 7420, tls: TLSConfiguration? = nil, allowPlainHTTP: Bool = false,
        allowedOrigins: [String] = [], programVersion: String
    ) {
        self.host = host
        self.port = port
        self.tls = tls
        self.allowPlainHTTP = allowPlainHTTP
        self.allowedOrigins = allowedOrigins
        self.programVersion = programVersion
    }
}

/// The public API: REST, server-sent events, WebSockets and MCP on one HTTP listener.
///
/// On graceful shutdown it takes no new connections, lets running requests end, and says goodbye on WebSockets.
public struct APIServer: Service {
    private let configuration: APIServerConfiguration
    private let responder: APIResponder
    private let logger: Logger
    private let onListening: @Sendable (SocketAddress) async -> Void

    /// - Parameter onListening: called once with the address when requests are about to be taken. It must not wait for a request.
    /// - Throws: `invalid` for plain HTTP on an address that others can reach.
    public init(
        _ configuration: APIServerConfiguration, backend: any APIBackend, logger: Logger,
        onListening: @escaping @Sendable (SocketAddress) async -> Void = { _ in }
    ) throws {
        try ListenRule.check(configuration)
        self.configuration = configuration
        self.logger = logger
        self.onListening = onListening
        var routes = RouteTable<Route>()
        let openAPI = try OpenAPI.document(backend.operations, programVersion: configuration.programVersion)
        SystemRoutes(backend: backend, openAPI: openAPI).add(to: &routes)
        try ToolRoutes(backend).add(to: &routes)
        FileRoutes(backend: backend).add(to: &routes)
        WatchRoute(backend: backend).add(to: &routes)
        EventRoute(backend: backend).add(to: &routes)
        ExecRoutes(backend: backend).add(to: &routes)
        AdminRoutes(backend: backend).add(to: &routes)
        let origins = OriginRule(allowed: configuration.allowedOrigins)
        try MCPRoutes(backend, origins: origins, programVersion: configuration.programVersion).add(to: &routes)
        responder = APIResponder(
            routes: routes.map { TokenHold.guarding($0, backend.openStreams) }, origins: origins,
            authenticate: { try await backend.authenticate($0) }, logger: logger)
    }

    /// Serves until shutdown. Throws `unavailable` with what to do when the address cannot be used.
    public func run() async throws {
        let sockets = configuration.sockets
        let plain = HTTPServerBuilder { responder in
            WatchedHTTPChannel(base: HTTP1Channel(responder: responder, configuration: Self.http), sockets: sockets)
        }
        let server = try configuration.tls.map { try HTTPServerBuilder.tls(plain, tlsConfiguration: $0) } ?? plain
        let onListening = onListening
        let application = Application(
            responder: responder, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port), serverName: "fastable",
                availableConnectionsDelegate: .maximum(Limits.apiConnections, logger: logger)),
            onServerRunning: { channel in
                if let address = channel.localAddress { await onListening(address) }
            },
            logger: logger)
        do {
            try await application.run()
        } catch let error as IOError {
            throw ListenRule.explain(error, configuration)
        }
    }

    private static var http: HTTP1Channel.Configuration {
        HTTP1Channel.Configuration(
            idleTimeout: .seconds(Int64(Limits.apiIdleSeconds)),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Limits.requestHeaderBytes, maxHeaderListSize: 2 * Limits.requestHeaderBytes,
                maxHeaderFieldCount: Limits.requestHeaders))
    }
}
