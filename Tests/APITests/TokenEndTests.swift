import AsyncHTTPClient
import ControllerServices
import FastableCore
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// What a token opened ends with the token.
@Suite(.endsInTime) struct TokenEndTests {
    struct Stream: Sendable, CustomStringConvertible {
        var path: String
        var accept: String?
        var description: String { path }
    }

    static let streams = [
        Stream(path: "/api/projects/demo/fs/watch?path=src"), Stream(path: "/api/events"),
        Stream(path: "/api/execs/\(TestBackend.exec)/output?follow=true"),
        Stream(path: "/api/execs/\(TestBackend.exec)/output?follow=true", accept: "text/event-stream"),
    ]

    /// Reads until something has come, calls `then`, and expects the rest to break off.
    private func expectEnd(
        of stream: Stream, _ server: TestServer, token: String = TestBackend.token, then: () -> Void
    ) async throws {
        server.backend.pieces.withLock { $0 = [ByteBuffer(string: "first")] }
        server.backend.feed.withLock { $0 = [.passed(1)] }
        server.backend.node.onAttach { command in
            try await command.start()
            await command.waitForReset()
            server.backend.probe.note("source cancelled")
        }
        var request = server.request(.GET, stream.path, token: token)
        if let accept = stream.accept { request.headers.add(name: "accept", value: accept) }
        let response = try await server.client.execute(request, timeout: .minutes(5))
        #expect(response.status == .ok)
        var parts = response.body.makeAsyncIterator()
        #expect(try await parts.next() != nil)
        then()
        await #expect(throws: (any Error).self, "it must not look whole") { while try await parts.next() != nil {} }
        #expect(await server.backend.probe.saw("source cancelled"))
    }

    @Test(arguments: streams) func aRevokedTokensStreamsEnd(stream: Stream) async throws {
        try await withServer { server in
            try await expectEnd(of: stream, server) { server.backend.openStreams.end(TestBackend.tokenID) }
            // One that comes too late, let in before: it is cut at once.
            await #expect(throws: (any Error).self) { try await server.get(stream.path) }
            // Other answers are not of this kind.
            #expect(try await server.get("/api/tools").status == 200)
        }
    }

    @Test func streamsEndWhenTheirTokenExpires() async throws {
        try await withServer { server in
            try await expectEnd(of: Self.streams[0], server, token: TestBackend.briefToken) {}
        }
    }

    @Test func anotherTokensStreamsGoOn() async throws {
        try await withServer { server in
            server.backend.openStreams.end(TokenID())
            let client = try await SocketClient.open(server)
            #expect(try await client.nextMessage()["started"] != nil)
            #expect(try await client.nextMessage()["result"] != nil)
            #expect(try await client.nextClose().code == 1000)
        }
    }

    @Test(arguments: [TestBackend.token, TestBackend.briefToken])
    func anAttachmentEndsWithItsToken(token: String) async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
                server.backend.probe.note("gone")
            }
            let client = try await SocketClient.open(
                server, "?stdin=append", headers: ["authorization": "Bearer \(token)"])
            _ = try await client.nextMessage()
            if token == TestBackend.token { server.backend.openStreams.end(TestBackend.tokenID) }
            let why = token == TestBackend.token ? "The token was revoked." : "The token has expired."
            #expect(try await client.nextClose() == .init(code: 1008, reason: why))
            #expect(await server.backend.probe.saw("gone"), "nothing leads to the command any more")
            #expect(await client.next() == nil)
        }
    }
}
