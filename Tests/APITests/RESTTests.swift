import AsyncHTTPClient
import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct ToolTests {
    @Test func runsAnOperation() async throws {
        try await withServer { server in
            let answer = try await server.tool("test.echo", #"{"text":"hé"}"#)
            #expect(answer.status == 200 && answer.text == #"{"text":"hé"}"#)
            #expect(answer.headers.first(name: "content-type") == "application/json")
            #expect(answer.headers.first(name: "x-content-type-options") == "nosniff")
        }
    }

    /// The line is written behind the answer, and for each: it has the route, never the path.
    @Test func eachAnswerHasOneLineInTheLog() async throws {
        let log = LogRecorder()
        try await withServer(logger: log.logger) { server in
            for _ in 0..<20 { #expect(try await server.tool("test.echo", #"{"text":"secret"}"#).status == 200) }
            #expect(try await server.tool("test.nothing", "{}").status == 404)
            #expect(try await server.get("/private/name").status == 404)
            try await eventually("the lines are written") { log.count("Answered a request.") == 22 }
        }
        #expect(log.count("route=/api/tools/{operation} status=200") == 20)
        #expect(log.count("route=/api/tools/{operation} status=404") == 1 && log.count("route=none status=404") == 1)
        #expect(!log.contains("secret") && !log.contains("private"))
    }

    @Test func listsTheOperations() async throws {
        try await withServer { server in
            let operations = try await server.get("/api/tools").json()["operations"]?.array ?? []
            #expect(operations.compactMap { $0["name"]?.string } == server.backend.operations.map(\.name))
            let echo = operations.first { $0["name"] == "test.echo" }
            #expect(echo?["inputSchema"]?["required"] == ["text"] && echo?["scope"] == "exec")
            #expect(echo?["annotations"]?["readOnlyHint"] == true && echo?["annotations"]?["openWorldHint"] == false)
        }
    }

    /// Every code has its status, and every answer its form.
    @Test func theStatusTable() async throws {
        let table: [FastableError.Code: Int] = [
            .invalid: 400, .unprocessable: 422, .unauthenticated: 401, .forbidden: 403, .notFound: 404, .conflict: 409,
            .ambiguous: 409, .stale: 412, .gone: 410, .binary: 415, .tooLarge: 413, .limit: 429, .unavailable: 503,
            .timeout: 504, .cancelled: 499, .internal: 500,
        ]
        #expect(Set(table.keys) == Set(FastableError.Code.allCases))
        try await withServer { server in
            for (code, status) in table {
                for accept in ["application/json", "text/event-stream", "application/vnd.fastable.frames"] {
                    let answer = try await server.tool("test.fail", #"{"code":"\#(code.rawValue)"}"#, accept: accept)
                    #expect(answer.status == status, "\(code) \(accept)")
                    #expect(answer.headers.first(name: "content-type") == "application/problem+json")
                    #expect(answer.headers.first(name: "retry-after") == "7")
                    #expect((answer.headers.first(name: "www-authenticate") != nil) == (code == .unauthenticated))
                    let problem = try answer.json()
                    #expect(problem["code"] == .string(code.rawValue) && problem["status"]?.integer == Int64(status))
                    #expect(problem["detail"] == "It failed." && problem["details"] == ["fact": 1])
                    #expect(problem["requestId"]?.string == answer.headers.first(name: "x-request-id"))
                    #expect(!answer.text.contains("secret"))
                }
            }
        }
    }

    @Test(arguments: [
        ("test.echo", "{", 400), ("test.echo", "", 400), ("test.echo", #"{"text":7}"#, 400),
        ("test.echo", "{}", 400), ("test.echo", #"{"text":"a","more":1}"#, 400),
        ("test.echo", #"{"text":"a","count":10}"#, 422), ("test.echo", "[]", 400), ("test.nothing", "{}", 404),
    ])
    func badInputNamesWhatIsWrong(name: String, input: String, status: Int) async throws {
        try await withServer { server in
            let answer = try await server.tool(name, input)
            #expect(answer.status == status)
            #expect(try answer.json()["detail"]?.string?.isEmpty == false)
        }
    }

    @Test(arguments: [true, false])
    func aBodyOverTheLimitIsRefused(isAnnounced: Bool) async throws {
        try await withServer { server in
            let raw = try await RawConnection(port: server.port)
            defer { raw.close() }
            let length = isAnnounced ? "Content-Length: \(Limits.requestBodyBytes + 1)" : "Transfer-Encoding: chunked"
            try await raw.send(
                "POST /api/tools/test.echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n"
                    + "\(length)\r\n\r\n")
            let megabyte = String(repeating: " ", count: 1 << 20)
            // One that is announced is refused at once, and a sender that is slow hung up on before it has sent it all.
            let part = isAnnounced ? megabyte : "100000\r\n\(megabyte)\r\n"
            for _ in 0...(isAnnounced ? 1 : 16) { guard (try? await raw.send(part)) != nil else { break } }
            let answer = try await raw.readAnswer()
            #expect(answer.hasPrefix("HTTP/1.1 413 ") && answer.lowercased().contains("connection: close"))
            #expect(answer.contains("\"limit\":\(Limits.requestBodyBytes)"))
        }
    }

    /// Who sends slowly reads the refusal as well, and who does not go on is hung up on.
    @Test func aSlowSenderReadsTheRefusal() async throws {
        try await withServer { server in
            // On a busy machine a pause may be longer than the server waits.
            for _ in 0..<5 {
                let raw = try await RawConnection(port: server.port)
                defer { raw.close() }
                try await raw.send(
                    "POST /api/tools/test.echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(TestBackend.token)\r\n"
                        + "Content-Length: \(Limits.requestBodyBytes + 1)\r\n\r\n")
                var sent = 0
                while sent < 24, (try? await raw.send(String(repeating: " ", count: 1000))) != nil {
                    sent += 1
                    try await Task.sleep(for: .milliseconds(250))
                }
                guard sent == 24 else { continue }
                #expect(try await raw.readAnswer().hasPrefix("HTTP/1.1 413 "))
                return #expect(try await raw.readsEnd())
            }
            Issue.record("the server hung up each time")
        }
    }

    @Test func tokensAreNeededAndScopesCount() async throws {
        try await withServer { server in
            var basic = server.request(.GET, "/api/tools", token: nil)
            basic.headers.add(name: "authorization", value: "Basic abc")
            let missing = server.request(.GET, "/api/tools", token: nil)
            for request in [basic, missing, server.request(.GET, "/api/tools", token: "fst_wrong")] {
                let answer = try await server.send(request)
                #expect(
                    answer.status == 401 && answer.headers.first(name: "www-authenticate")?.hasPrefix("Bearer") == true)
            }
            var lower = server.request(.GET, "/api/tools", token: nil)
            lower.headers.add(name: "authorization", value: "bearer  \(TestBackend.token) ")
            #expect(try await server.send(lower).status == 200)

            var reads = server.request(.POST, "/api/tools/test.reads", token: TestBackend.readerToken)
            reads.body = .bytes(ByteBuffer(string: "{}"))
            #expect(try await server.send(reads).status == 200)
            var waits = server.request(.POST, "/api/tools/test.echo", token: TestBackend.readerToken)
            waits.body = .bytes(ByteBuffer(string: #"{"text":""}"#))
            #expect(try await server.send(waits).status == 403)
        }
    }
}

@Suite(.endsInTime) struct RouteTests {
    @Test func unknownPathsAndWrongMethods() async throws {
        try await withServer { server in
            let missing = try await server.get("/api/nothing")
            #expect(missing.status == 404 && missing.headers.first(name: "content-type") == "application/problem+json")
            #expect(try missing.json()["detail"]?.string?.contains("/api/nothing") == true)
            let wrong = try await server.send(server.request(.DELETE, "/api/projects/demo/fs/file"))
            #expect(wrong.status == 405 && wrong.headers.first(name: "allow") == "GET, HEAD, PUT")
            #expect(try wrong.json()["status"]?.integer == 405)
            #expect(try await server.send(server.request(.OPTIONS, "/health")).status == 405)
        }
    }

    @Test func theRequestIDIsKeptOrMade() async throws {
        try await withServer { server in
            let mine = RequestID().description
            var kept = server.request(.GET, "/health")
            kept.headers.add(name: "x-request-id", value: mine)
            #expect(try await server.send(kept).headers.first(name: "x-request-id") == mine)
            var foreign = server.request(.GET, "/health")
            foreign.headers.add(name: "x-request-id", value: "not-ours")
            let made = try await server.send(foreign).headers.first(name: "x-request-id")
            #expect(made.flatMap { RequestID($0) } != nil)
        }
    }

    @Test func healthNeedsNoTokenAndMetricsAnAdmin() async throws {
        try await withServer { server in
            #expect(try await server.get("/health", token: nil).text == #"{"status":"ok"}"#)
            #expect(try await server.get("/ready", token: nil).status == 200)
            server.backend.storeWritable.withLock { $0 = false }
            let unready = try await server.get("/ready", token: nil)
            #expect(unready.status == 503)
            #expect(try unready.json() == ["storeWritable": false, "nodesConnected": 1])
            #expect(try await server.get("/metrics", token: nil).status == 401)
            #expect(try await server.get("/metrics", token: TestBackend.readerToken).status == 403)
            let metrics = try await server.get("/metrics")
            #expect(metrics.text == "fastable_up 1\n")
            #expect(metrics.headers.first(name: "content-type")?.hasPrefix("text/plain; version=0.0.4") == true)
        }
    }

    @Test func aNodeJoinsWithoutABearerToken() async throws {
        try await withServer { server in
            for (token, status) in [("good", 200), ("used", 401)] {
                var request = server.request(.POST, "/api/nodes/enroll", token: nil)
                request.body = .bytes(ByteBuffer(string: #"{"tokenID":"\#(token)"}"#))
                let answer = try await server.send(request)
                #expect(answer.status == status)
                if status == 200 { #expect(try answer.json()["from"] == "127.0.0.1") }
            }
        }
    }

    @Test func manyRequestsUseOneConnection() async throws {
        try await withServer { server in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<200 {
                    group.addTask { try await server.tool("test.echo", #"{"text":"\#(number)"}"#).status }
                }
                for try await status in group { #expect(status == 200) }
            }
        }
    }
}
