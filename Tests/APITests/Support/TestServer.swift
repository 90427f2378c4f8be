import AsyncHTTPClient
import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import Logging
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import TestSupport

/// The real server on a free port of this machine.
struct TestServer: Sendable {
    let backend: TestBackend
    let client: HTTPClient
    let url: String
    let port: Int

    static func configuration() -> APIServerConfiguration {
        APIServerConfiguration(
            port: 0, allowedOrigins: ["https://console.example.com"], programVersion: "9.9.9")
    }

    /// An answer with its whole body.
    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var body: ByteBuffer

        var text: String { String(buffer: body) }
        func json() throws -> JSONValue { try JSONParser.parse(Data(body.readableBytesView)) }
    }

    func request(_ method: HTTPMethod, _ path: String, token: String? = TestBackend.token) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = method
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        return request
    }

    func send(_ request: HTTPClientRequest) async throws -> Answer {
        let response = try await client.execute(request, timeout: .minutes(5))
        return Answer(
            status: Int(response.status.code), headers: response.headers,
            body: try await response.body.collect(upTo: 64 * 1024 * 1024))
    }

    func get(_ path: String, token: String? = TestBackend.token) async throws -> Answer {
        try await send(request(.GET, path, token: token))
    }

    /// Runs an operation with a JSON text.
    func tool(_ name: String, _ input: String, accept: String? = nil) async throws -> Answer {
        try await send(toolRequest(name, input, accept: accept))
    }

    func toolRequest(_ name: String, _ input: String, accept: String? = nil) -> HTTPClientRequest {
        var request = request(.POST, "/api/tools/\(name)")
        if let accept { request.headers.add(name: "accept", value: accept) }
        request.body = .bytes(ByteBuffer(string: input))
        return request
    }
}

/// Runs `body` against a server that is stopped afterwards.
func withServer(
    _ configuration: APIServerConfiguration = TestServer.configuration(), scheme: String = "http",
    client: HTTPClient.Configuration = .init(), logger: Logger = .quiet,
    _ body: @escaping @Sendable (TestServer) async throws -> Void
) async throws {
    let backend = TestBackend()
    let (addresses, continuation) = AsyncStream<SocketAddress>.makeStream()
    let server = try APIServer(configuration, backend: backend, logger: logger) { continuation.yield($0) }
    let client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: client)
    do {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = addresses.makeAsyncIterator()
            guard let port = await iterator.next()?.port else { throw FastableError(.internal, "no address") }
            let test = TestServer(
                backend: backend, client: client, url: "\(scheme)://127.0.0.1:\(port)", port: port)
            try await body(test)
            group.cancelAll()
        }
    } catch {
        await backend.node.close()
        try await client.shutdown()
        throw error
    }
    await backend.node.close()
    try await client.shutdown()
}
