import AsyncHTTPClient
import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct DisconnectTests {
    /// Nobody waits for the answer any more, so the operation must end, whatever the form of the answer is.
    @Test(arguments: ["application/json", "text/event-stream", "application/vnd.fastable.frames"], [false, true])
    func aClientThatGoesAwayCancels(accept: String, prints: Bool) async throws {
        try await withServer { server in
            let request = server.toolRequest("test.wait", #"{"print":\#(prints)}"#, accept: accept)
            let call = Task { try await server.send(request) }
            #expect(await server.backend.probe.saw("began"))
            #expect(!(await server.backend.probe.saw("cancelled", within: .milliseconds(200))))
            call.cancel()
            #expect(await server.backend.probe.saw("cancelled"))
            await #expect(throws: (any Error).self) { try await call.value }
        }
    }

    /// A command that prints faster than its reader reads waits in the queue: it must get out of there.
    @Test func aFloodEndsWhenItsReaderGoesAway() async throws {
        try await withServer { server in
            let request = server.toolRequest(
                "test.flood", #"{"bytes":10000000000,"chunk":262144}"#, accept: "application/vnd.fastable.frames")
            let call = Task {
                let response = try await server.client.execute(request, timeout: .minutes(5))
                var iterator = response.body.makeAsyncIterator()
                _ = try await iterator.next()
                server.backend.probe.note("reads")
                try await Task.sleep(for: .seconds(3600))
            }
            #expect(await server.backend.probe.saw("reads"))
            try await Task.sleep(for: .milliseconds(300))
            call.cancel()
            var last = -1
            for _ in 0..<100 {
                try await Task.sleep(for: .milliseconds(100))
                let now = server.backend.probe.all.count
                if now == last { break }
                last = now
            }
            #expect(server.backend.probe.all.count < 4000)
        }
    }

    @Test func keepAliveConnectionsServeOneAfterTheOther() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            for number in 0..<50 {
                let body = #"{"text":"\#(number)"}"#
                try await raw.send(
                    "POST /api/tools/test.echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
                #expect(try await raw.readAnswer().contains(#"{"text":"\#(number)"}"#))
            }
        }
    }
}

@Suite(.endsInTime) struct ExpectTests {
    private func head(_ path: String, token: String = TestBackend.token) -> String {
        "PUT \(path) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\nContent-Length: 5\r\n"
            + "Expect: 100-continue\r\n\r\n"
    }

    @Test func theBodyIsAskedForWhenItIsWanted() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send(head("/api/projects/demo/fs/file?path=f"))
            #expect(try await raw.readHead().hasPrefix("HTTP/1.1 100 "))
            try await raw.send("hello")
            #expect(try await raw.readAnswer().hasPrefix("HTTP/1.1 201 "))
            #expect(server.backend.files.withLock { $0["f"] } == Array("hello".utf8))
        }
    }

    @Test func aRefusalComesInsteadAndTheConnectionEnds() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send(head("/api/projects/demo/fs/file?path=f", token: "wrong"))
            let answer = try await raw.readAnswer()
            #expect(answer.hasPrefix("HTTP/1.1 401 ") && answer.lowercased().contains("connection: close"))
            #expect(try await raw.readsEnd())
        }
    }
}

@Suite(.endsInTime) struct HostileHTTPTests {
    @Test(arguments: [
        "GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "POST /api/tools HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ])
    func brokenRequestsDoNotStopTheServer(text: String) async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            try await raw.send(text)
            _ = try? await raw.readHead()
            raw.close()
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test func hugeHeadersAreRefused() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            let value = String(repeating: "a", count: Limits.requestHeaderBytes * 3)
            try? await raw.send("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: \(value)\r\n\r\n")
            let answer = (try? await raw.readHead()) ?? ""
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"))
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test func aBrokenChunkedBodyIsRefused() async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send(
                "POST /api/tools/test.echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\nzz\r\n")
            #expect(try await raw.readHead().hasPrefix("HTTP/1.1 400 "))
        }
    }
}

@Suite(.endsInTime) struct ListenTests {
    @Test(arguments: ["0.0.0.0", "::", "192.168.1.5", "example.com", "127.0.0.1.example.com", "1270.0.0.1", ""])
    func plainHTTPStaysOnThisMachine(host: String) throws {
        var configuration = TestServer.configuration()
        configuration.host = host
        let error = #expect(throws: FastableError.self) {
            try APIServer(configuration, backend: TestBackend(), logger: .quiet)
        }
        #expect(error?.code == .invalid && error?.message.contains("allowPlainHTTP") == true)
        configuration.allowPlainHTTP = true
        _ = try APIServer(configuration, backend: TestBackend(), logger: .quiet)
    }

    @Test(arguments: ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
    func loopbackNeedsNoTLS(host: String) throws {
        var configuration = TestServer.configuration()
        configuration.host = host
        _ = try APIServer(configuration, backend: TestBackend(), logger: .quiet)
    }

    @Test func aTakenPortIsExplained() async throws {
        try await withServer { server in
            var configuration = TestServer.configuration()
            configuration.port = server.port
            let second = try APIServer(configuration, backend: TestBackend(), logger: .quiet)
            let error = await #expect(throws: FastableError.self) { try await second.run() }
            #expect(error?.code == .unavailable && error?.message.contains("\(server.port)") == true)
            #expect(error?.message.contains("taken") == true)
        }
    }

    /// What was accepted and not yet served when the server stops is closed; NIO would end the process for it.
    @Test(arguments: 0..<5) func aServerStopsWhileConnectionsCome(round: Int) async throws {
        let connections = Mutex<[RawConnection]>([])
        try await withServer { server in
            try await withThrowingTaskGroup(of: RawConnection.self) { group in
                for _ in 0..<64 { group.addTask { try await RawConnection(port: server.port) } }
                for try await connection in group { connections.withLock { $0.append(connection) } }
            }
        }
        for connection in connections.withLock({ $0 }) {
            #expect(try await connection.readsEnd())
            connection.close()
        }
    }

    /// Shutdown waits for what runs, and takes nothing new.
    @Test func runningRequestsEndBeforeShutdown() async throws {
        let backend = TestBackend()
        let (addresses, continuation) = AsyncStream<SocketAddress>.makeStream()
        // No server of another test gets it afterwards.
        let reserved = try ReservedPort()
        var configuration = TestServer.configuration()
        configuration.port = reserved.number
        let server = try APIServer(configuration, backend: backend, logger: .quiet) { continuation.yield($0) }
        let group = ServiceGroup(services: [server], logger: .quiet)
        let running = Task { try await group.run() }
        var iterator = addresses.makeAsyncIterator()
        let address = await iterator.next()
        let port = try #require(address?.port)
        let test = TestServer(backend: backend, client: .shared, url: "http://127.0.0.1:\(port)", port: port)
        async let answer = test.tool("test.slow", #"{"ms":600}"#)
        #expect(await backend.probe.saw("slow began"))
        await group.triggerGracefulShutdown()
        #expect(try await answer.text == #"{"done":true}"#)
        try await running.value
        #expect(backend.probe.all == ["slow began", "slow ended"])
        await #expect(throws: RawConnection.Failure.self) { _ = try await RawConnection(port: port) }
        withExtendedLifetime(reserved) {}
    }
}
