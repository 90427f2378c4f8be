import AsyncHTTPClient
import ControllerAPI
import FastableCore
import FastableWire
import FoundationEssentials
import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1
import NIOWebSocket
import Synchronization
import TestSupport
import Testing

/// Requests for a WebSocket that do not become one get the answers of any other request.
@Suite(.endsInTime) struct AttachRefusalTests {
    private static func request(
        _ path: String = "/api/execs/\(TestBackend.exec)/attach", token: String? = TestBackend.token,
        leaving left: Set<String> = [], adding added: [String] = []
    ) -> String {
        var lines = ["GET \(path) HTTP/1.1", "Host: x"]
        if let token { lines.append("Authorization: Bearer \(token)") }
        let handshake = [
            "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: fastable.exec.v1",
        ]
        lines += handshake.filter { line in !left.contains { line.hasPrefix("\($0):") } } + added
        return lines.joined(separator: "\r\n") + "\r\n\r\n"
    }

    private func answer(_ text: String, _ server: TestServer) async throws -> String {
        let raw = try await RawConnection(port: server.port)
        defer { raw.close() }
        try await raw.send(text)
        let answer = try await raw.readAnswer()
        if !answer.hasPrefix("HTTP/1.1 101 ") {
            #expect(answer.lowercased().contains("content-type: application/problem+json"))
            #expect(try await raw.readsEnd(), "nothing can follow on this connection")
        }
        return answer
    }

    private func expect(_ status: String, _ text: String, _ server: TestServer) async throws {
        let answer = try await answer(text, server)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
    }

    @Test func theSampleOfTheStandardIsAccepted() async throws {
        try await withServer { server in
            let answer = try await answer(Self.request(), server)
            #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
            #expect(answer.lowercased().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"))
            #expect(
                !answer.lowercased().contains("transfer-encoding") && !answer.lowercased().contains("content-length"))
        }
    }

    @Test func withoutATokenNobodyAttaches() async throws {
        try await withServer { server in
            try await expect("401", Self.request(token: nil), server)
            try await expect("401", Self.request(token: "fst_wrong"), server)
            try await expect("403", Self.request(token: TestBackend.readerToken), server)
            #expect(server.backend.node.attachments.isEmpty)
        }
    }

    @Test func aPageOfAnotherOriginCannotAttach() async throws {
        try await withServer { server in
            for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
                let answer = try await answer(Self.request(adding: ["Origin: \(origin)"]), server)
                #expect(answer.hasPrefix("HTTP/1.1 403 "), "\(origin)")
            }
            for origin in ["https://console.example.com", "http://localhost:3000"] {
                let answer = try await answer(Self.request(adding: ["Origin: \(origin)"]), server)
                #expect(answer.hasPrefix("HTTP/1.1 101 "), "\(origin)")
            }
        }
    }

    @Test func whatDoesNotExistCannotBeAttachedTo() async throws {
        try await withServer { server in
            for exec in [ExecID().description, "nonsense"] {
                let answer = try await answer(Self.request("/api/execs/\(exec)/attach"), server)
                #expect(answer.hasPrefix("HTTP/1.1 404 "))
            }
        }
    }

    @Test(arguments: [
        ("Upgrade", "426"), ("Connection", "426"), ("Sec-WebSocket-Version", "426"), ("Sec-WebSocket-Key", "400"),
        ("Sec-WebSocket-Protocol", "400"),
    ])
    func eachPartOfTheHandshakeIsNeeded(header: String, status: String) async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send(Self.request(leaving: [header]))
            let answer = try await raw.readAnswer()
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
            #expect(status != "426" || answer.lowercased().contains("\r\nupgrade: websocket\r\n"))
            #expect(server.backend.node.attachments.isEmpty)
        }
    }

    @Test(arguments: [
        "?stdout=-1", "?stdin=all", "?stdin=", "?stdin=1&stdin=2", "?stream=stdout", "?stderr=1x",
        "?stdout=99999999999999999999999",
    ])
    func offsetsMustBeNumbers(query: String) async throws {
        try await withServer { server in
            let path = "/api/execs/\(TestBackend.exec)/attach\(query)"
            try await expect("400", Self.request(path), server)
        }
    }

    @Test func otherMethodsAndBodiesDoNotUpgrade() async throws {
        try await withServer { server in
            let post = Self.request().replacing("GET ", with: "POST ")
            try await expect("405", post, server)
            let withBody = Self.request(adding: ["Content-Length: 5"]) + "hello"
            try await expect("426", withBody, server)
        }
    }

    /// What asks for another protocol than ours is answered as if it had not, and its connection ends: the decoder stops there.
    @Test func otherProtocolsAreNotTaken() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            let body = #"{"text":"a"}"#
            try await raw.send(
                "POST /api/tools/test.echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n"
                    + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            let answer = try await raw.readAnswer()
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix(#"{"text":"a"}"#))
            #expect(answer.lowercased().contains("connection: close"))
            #expect(try await raw.readsEnd())
        }
    }

    /// The decoder stops behind such a request: the bytes must wait in the sockets, not here.
    @Test(arguments: ["GET /health", "GET /api/execs/\(TestBackend.exec)/attach"])
    func bytesBehindARefusedUpgradeAreNotCollected(request: String) async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send("\(request) HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            let megabyte = String(repeating: "x", count: 1 << 20)
            await #expect(throws: RawConnection.Failure.self) {
                for _ in 0..<128 { try await raw.send(megabyte) }
            }
        }
    }

    /// Any request of a connection may upgrade, but not while an earlier one waits for its answer.
    @Test func aUsedConnectionMayUpgrade() async throws {
        try await withServer { server in
            let ordinary = "GET /api/tools HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n\r\n"
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            for _ in 0..<3 {
                try await raw.send(ordinary)
                #expect(try await raw.readAnswer().hasPrefix("HTTP/1.1 200 "))
            }
            try await raw.send(Self.request())
            #expect(try await raw.readHead().hasPrefix("HTTP/1.1 101 "))

            let pipelined = try await RawConnection(port: server.port)
            defer { pipelined.close() }
            try await pipelined.send(ordinary + Self.request())
            #expect(try await pipelined.readAnswer().hasPrefix("HTTP/1.1 200 "))
            #expect(try await pipelined.readAnswer().hasPrefix("HTTP/1.1 426 "))
            #expect(try await pipelined.readsEnd())
        }
    }
}

@Suite(.endsInTime) struct AttachTokenTests {
    /// Pages in browsers cannot set headers.
    @Test func aTokenMayComeAsASubprotocolAndNeverGoesBack() async throws {
        let lines = LogLines()
        try await withServer(logger: lines.logger) { server in
            let offers = ["fastable.token.\(TestBackend.token)", "fastable.exec.v1"]
            let client = try await SocketClient.open(
                server, subprotocols: offers, headers: ["origin": "https://console.example.com"])
            #expect(client.answer.headers["sec-websocket-protocol"] == ["fastable.exec.v1"])
            #expect(!"\(client.answer.headers)".contains(TestBackend.token))
            #expect(try await client.nextClose().code == 1000)

            let wrong = ["fastable.exec.v1", "fastable.token.\(TestBackend.readerToken)x"]
            await #expect(throws: (any Error).self) {
                _ = try await SocketClient.open(server, subprotocols: wrong, headers: [:])
            }
            let other = try await server.get("/api/tools", token: nil)
            #expect(other.status == 401)
        }
        #expect(lines.all.contains { $0.contains("101") && $0.contains("/api/execs/{exec}/attach") })
        #expect(!lines.all.contains { $0.contains(TestBackend.token) || $0.contains(TestBackend.readerToken) })
    }

    @Test func asASubprotocolItOpensNothingElse() async throws {
        try await withServer { server in
            var request = server.request(.GET, "/api/tools", token: nil)
            request.headers.add(name: "sec-websocket-protocol", value: "fastable.token.\(TestBackend.token)")
            let answer = try await server.send(request)
            #expect(answer.status == 401)
        }
    }
}

/// Everything that is logged, at every level.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(lines: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata = Logger.Metadata()
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }
            lines.lines.withLock { $0.append("\(event.message) \(all)") }
        }
    }
}
