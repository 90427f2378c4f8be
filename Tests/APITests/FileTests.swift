import AsyncHTTPClient
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct FileTests {
    private static let path = "/api/projects/demo/fs/file?path=a%20b.bin"
    private static let content = Array("0123456789".utf8)

    private func get(_ server: TestServer, _ headers: [(String, String)] = []) async throws -> TestServer.Answer {
        server.backend.files.withLock { $0["a b.bin"] = Self.content }
        var request = server.request(.GET, Self.path)
        request.headers.add(contentsOf: headers)
        return try await server.send(request)
    }

    @Test func readsAWholeFile() async throws {
        try await withServer { server in
            let answer = try await get(server)
            #expect(answer.status == 200 && answer.text == "0123456789")
            #expect(answer.headers.first(name: "content-length") == "10")
            #expect(answer.headers.first(name: "content-type") == "application/octet-stream")
            #expect(answer.headers.first(name: "accept-ranges") == "bytes")
            #expect(answer.headers.first(name: "etag") == "\"v1-2-3-10\"")
        }
    }

    @Test(arguments: [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"), ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"), ("bytes=-30", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=0-99", 206, "0123456789", "bytes 0-9/10"), ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=11-12", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"), ("bytes=1-2,4-5", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ])
    func readsARange(range: String, status: Int, text: String, contentRange: String) async throws {
        try await withServer { server in
            let answer = try await get(server, [("range", range)])
            #expect(answer.status == status)
            #expect(answer.headers.first(name: "content-range") ?? "" == contentRange)
            if status != 416 { #expect(answer.text == text) } else { #expect(try answer.json()["status"] == 416) }
        }
    }

    @Test func conditionsAndHeads() async throws {
        try await withServer { server in
            let unchanged = try await get(server, [("if-none-match", "\"v1-2-3-10\"")])
            #expect(unchanged.status == 304 && unchanged.body.readableBytes == 0)
            for (tag, status) in [("\"v1-2-3-10\"", 206), ("\"v1-2-3-11\"", 200), ("W/\"v1-2-3-10\"", 200)] {
                let resumed = try await get(server, [("range", "bytes=1-2"), ("if-range", tag)])
                #expect(resumed.status == status, "\(tag)")
                #expect(resumed.text == (status == 206 ? "12" : "0123456789"))
            }
            let head = try await server.send(server.request(.HEAD, Self.path))
            #expect(head.status == 200 && head.headers.first(name: "content-length") == "10")
            #expect(head.body.readableBytes == 0)
            #expect(try await server.get("/health").status == 200, "the connection is still in step")
        }
    }

    @Test func errorsHaveTheirStatus() async throws {
        try await withServer { server in
            for (path, token, status) in [
                ("demo/fs/file?path=none", TestBackend.token, 404), ("other/fs/file?path=a", TestBackend.token, 404),
                ("demo/fs/file", TestBackend.token, 400), ("demo/fs/file?pth=a", TestBackend.token, 400),
                ("demo/fs/file?path=a", nil, 401),
            ] as [(String, String?, Int)] {
                let answer = try await server.get("/api/projects/\(path)", token: token)
                #expect(answer.status == status, "\(path)")
            }
        }
    }

    @Test func anEmptyFileIsEmpty() async throws {
        try await withServer { server in
            server.backend.files.withLock { $0["empty"] = [] }
            let answer = try await server.get("/api/projects/demo/fs/file?path=empty")
            #expect(answer.status == 200 && answer.body.readableBytes == 0)
            #expect(answer.headers.first(name: "content-length") == "0")
        }
    }

    @Test func writesAFileAsItComes() async throws {
        try await withServer { server in
            let chunk = ByteBuffer(repeating: 7, count: 1024 * 1024)
            for expected in [201, 200] {
                var request = server.request(.PUT, "/api/projects/demo/fs/file?path=big&executable=true")
                request.body = .stream(
                    AsyncStream { continuation in
                        for _ in 0..<32 { continuation.yield(chunk) }
                        continuation.finish()
                    }, length: .unknown)
                let answer = try await server.send(request)
                #expect(answer.status == expected)
                #expect(try answer.json()["sizeBytes"]?.integer == 32 * 1024 * 1024)
            }
            #expect(server.backend.probe.all.allSatisfy { $0 == "ifMatch nil executable true" })
        }
    }

    @Test func conditionsOfWriting() async throws {
        let digest = String(repeating: "aB", count: 32)
        try await withServer { server in
            for (headers, status, note) in [
                ([("if-match", "\"\(digest)\"")], 201, "ifMatch \(digest.lowercased()) executable false"),
                ([("if-match", "\"v1-2-3-10\"")], 200, "ifMatch v1-2-3-10 executable false"),
                ([("if-match", digest)], 200, "ifMatch \(digest.lowercased()) executable false"),
                ([("if-none-match", "*")], 200, "ifMatch  executable false"),
                ([("if-match", "W/\"10-77\"")], 400, nil), ([("if-match", "*")], 400, nil),
                ([("if-none-match", "\"a\"")], 400, nil), ([("if-none-match", "*"), ("if-match", digest)], 400, nil),
            ] {
                var request = server.request(.PUT, "/api/projects/demo/fs/file?path=f")
                request.headers.add(contentsOf: headers)
                request.body = .bytes(ByteBuffer(string: "x"))
                let answer = try await server.send(request)
                #expect(answer.status == status, "\(headers)")
                if let note { #expect(server.backend.probe.all.last == note) }
            }
        }
    }

    /// What would be kept as something else than it was sent for.
    @Test(
        arguments: [
            ("file", [("content-range", "bytes 0-0/10")], 400, "Content-Range"),
            ("file", [("content-encoding", "gzip")], 415, "Content-Encoding"),
            ("file", [("content-encoding", "identity, ZSTD")], 415, "Content-Encoding"),
            ("file", [("idempotency-key", "k-1")], 400, "Idempotency-Key"),
            ("tree", [("idempotency-key", "k-1")], 400, "Idempotency-Key"),
            ("file", [("content-encoding", "identity")], 201, nil),
        ] as [(String, [(String, String)], Int, String?)])
    func whatARawBodyMayNotSay(route: String, headers: [(String, String)], status: Int, field: String?) async throws {
        try await withServer { server in
            var request = server.request(.PUT, "/api/projects/demo/fs/\(route)?path=part")
            request.headers.add(contentsOf: headers)
            request.body = .bytes(ByteBuffer(string: "x"))
            let answer = try await server.send(request)
            #expect(answer.status == status)
            let problem = try answer.json()
            #expect(problem["details"]?["field"]?.string == field)
            guard let field else { return }
            #expect(
                problem["detail"]?.string?.contains("Send") == true
                    && problem["detail"]?.string?.contains(field) == true)
            #expect(
                server.backend.probe.all.isEmpty && server.backend.files.withLock { $0.isEmpty }, "nothing was written")
        }
    }

    /// The refusal arrives, although the body was not read, and although the client goes on sending for a while.
    @Test(arguments: [
        ("/api/projects/demo/fs/file?path=../x", TestBackend.token, 403),
        ("/api/projects/demo/fs/file?path=x", "wrong", 401), ("/api/none", TestBackend.token, 404),
    ])
    func anEarlyRefusalOfALargeBodyArrives(path: String, token: String, status: Int) async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            try await raw.send(
                "PUT \(path) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\nContent-Length: 99999999\r\n\r\n")
            let part = String(repeating: "x", count: 100_000)
            func sendMore() async {
                // A client that is slow is hung up on before it has sent it all.
                for _ in 0..<20 { guard (try? await raw.send(part)) != nil else { return } }
            }
            await sendMore()
            let answer = try await raw.readAnswer()
            #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.lowercased().contains("connection: close"))
            await sendMore()
            #expect(try await raw.readsEnd())
        }
    }

    @Test func changesComeAsEvents() async throws {
        try await withServer { server in
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "a"), ByteBuffer(string: "b")] }
            func events(_ headers: [(String, String)]) async throws -> String {
                var request = server.request(.GET, "/api/projects/demo/fs/watch?path=src")
                request.headers.add(contentsOf: headers)
                let response = try await server.client.execute(request, timeout: .minutes(5))
                #expect(response.status == .ok)
                #expect(response.headers.first(name: "content-type") == "text/event-stream")
                var text = ""
                for try await part in response.body {
                    text += String(buffer: part)
                    if text.contains("\"b\"") { break }
                }
                return text
            }
            let text = try await events([])
            #expect(text.hasPrefix("id: 1\nevent: ready\ndata: {\"path\":\"src\"}\n\n"))
            #expect(text.contains("id: 3\nevent: created\n") && !text.contains("rescan"))
            // Whoever goes away ends the watch.
            #expect(await server.backend.probe.saw("source cancelled"))
            let again = try await events([("last-event-id", "41")])
            #expect(again.contains("id: 42\nevent: ready") && again.contains("id: 43\nevent: rescan"))
            #expect(again.contains("id: 44\nevent: created"))
            for (path, status) in [
                ("other/fs/watch", 404), ("demo/fs/watch?path=file", 422), ("demo/fs/watch?x=1", 400),
            ] {
                #expect(try await server.get("/api/projects/\(path)").status == status, "\(path)")
            }
            await #expect(throws: (any Error).self) { try await server.get("/api/projects/demo/fs/watch?path=broken") }
        }
    }

    @Test func treesGoInAndOut() async throws {
        try await withServer { server in
            var push = server.request(.PUT, "/api/projects/demo/fs/tree?path=src&replace=true")
            push.body = .bytes(ByteBuffer(repeating: 1, count: 100_000))
            #expect(try await server.send(push).json() == ["files": 2, "sizeBytes": 100_000])
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "tar"), ByteBuffer(string: "ball")] }
            let pull = try await server.get("/api/projects/demo/fs/tree?path=src")
            #expect(pull.status == 200 && pull.text == "tarball")
            #expect(pull.headers.first(name: "content-type") == "application/x-tar")
        }
    }

    @Test(
        arguments: [
            ([], "nil"), ([("content-type", "application/zstd")], "zstd"), ([("content-encoding", "zstd")], "zstd"),
            ([("content-type", "application/x-tar"), ("content-encoding", "ZSTD")], "zstd"),
            ([("content-type", "Application/Zstd; x=y")], "zstd"), ([("content-encoding", "identity")], "nil"),
            ([("content-encoding", "gzip")], nil), ([("content-encoding", "zstd, zstd")], nil),
        ] as [([(String, String)], String?)])
    func whatABodySaysThatItIs(headers: [(String, String)], compression: String?) async throws {
        try await withServer { server in
            var push = server.request(.PUT, "/api/projects/demo/fs/tree")
            push.headers.add(contentsOf: headers)
            push.body = .bytes(ByteBuffer(string: "archive"))
            let answer = try await server.send(push)
            #expect(answer.status == (compression == nil ? 400 : 200))
            #expect(server.backend.probe.all == (compression.map { ["push \($0)"] } ?? []))
        }
    }

    @Test(
        arguments: [
            ([], nil, nil), ([("accept-encoding", "zstd")], "zstd", "application/x-tar"),
            ([("accept-encoding", "gzip, br;q=0.5, ZSTD;q=0.1")], "zstd", "application/x-tar"),
            ([("accept-encoding", "zstd;q=0")], nil, nil), ([("accept-encoding", "zstd; q=0.000, gzip")], nil, nil),
            ([("accept-encoding", "*")], nil, nil), ([("accept", "application/zstd")], "zstd", "application/zstd"),
            (
                [("accept", "application/zstd, application/x-tar"), ("accept-encoding", "zstd")], "zstd",
                "application/zstd"
            ),
            ([("accept", "application/x-tar, application/zstd")], nil, nil), ([("accept", "*/*")], nil, nil),
        ] as [([(String, String)], String?, String?)])
    func whatAClientWants(headers: [(String, String)], compression: String?, type: String?) async throws {
        try await withServer { server in
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "archive")] }
            var pull = server.request(.GET, "/api/projects/demo/fs/tree")
            pull.headers.add(contentsOf: headers)
            let answer = try await server.send(pull)
            #expect(answer.status == 200 && answer.text == "archive")
            #expect(server.backend.probe.all == ["pull \(compression ?? "nil")"])
            #expect(answer.headers["content-type"] == [type ?? "application/x-tar"])
            #expect(answer.headers["content-encoding"] == (type == "application/x-tar" ? ["zstd"] : []))
            #expect(answer.headers["vary"] == ["Accept, Accept-Encoding"])
        }
    }

    /// A body that breaks off must not look whole.
    @Test func aBrokenSourceBreaksTheConnection() async throws {
        try await withServer { server in
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "half")] }
            await #expect(throws: (any Error).self) { try await server.get("/api/projects/demo/fs/tree?path=broken") }
        }
    }
}

@Suite(.endsInTime) struct ExecRouteTests {
    @Test func statusAndOutput() async throws {
        try await withServer { server in
            let exec = TestBackend.exec
            let status = try await server.get("/api/execs/\(exec)").json()
            #expect(status["execId"]?.string == exec.description && status["running"] == true)
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "out"), ByteBuffer(string: "put")] }
            let output = try await server.get("/api/execs/\(exec)/output?stream=stderr&offset=9")
            #expect(output.text == "output" && output.headers.first(name: "x-fastable-offset") == "9")
            _ = try await server.get("/api/execs/\(exec)/output?tail=5")
            #expect(server.backend.probe.all == ["stderr 9 false", "stdout -5 false"])
            for (path, status) in [
                ("/api/execs/\(ExecID())", 404), ("/api/execs/nonsense", 404),
                ("/api/execs/\(exec)/output?stream=x", 400),
                ("/api/execs/\(exec)/output?offset=-1", 400), ("/api/execs/\(exec)/output?follow=maybe", 400),
                ("/api/execs/\(exec)/output?tail=7&offset=7", 400),
            ] {
                #expect(try await server.get(path).status == status, "\(path)")
            }
        }
    }

    @Test func whoeverFollowsAndGoesAwayEndsTheSource() async throws {
        try await withServer { server in
            server.backend.pieces.withLock { $0 = [ByteBuffer(string: "first")] }
            let follower = Task {
                let request = server.request(.GET, "/api/execs/\(TestBackend.exec)/output?follow=true")
                let response = try await server.client.execute(request, timeout: .minutes(5))
                for try await part in response.body { server.backend.probe.note("got \(String(buffer: part))") }
            }
            #expect(await server.backend.probe.saw("got first"))
            follower.cancel()
            #expect(await server.backend.probe.saw("source cancelled"))
        }
    }
}
