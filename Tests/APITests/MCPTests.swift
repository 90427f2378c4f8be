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

extension TestServer {
    /// A POST to the endpoint as a client of that era sends it.
    func mcp(
        _ method: String, _ params: [String: JSONValue] = [:], id: JSONValue? = 1, modern: Bool,
        session: String? = nil
    ) throws -> HTTPClientRequest {
        var params = params
        var request = request(.POST, "/api/mcp")
        request.headers.add(name: "accept", value: "application/json, text/event-stream")
        if modern {
            var meta = params["_meta"]?.object ?? [:]
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28"
            meta["io.modelcontextprotocol/clientCapabilities"] = .object([:])
            params["_meta"] = .object(meta)
            request.headers.add(name: "mcp-protocol-version", value: "2026-07-28")
            request.headers.add(name: "mcp-method", value: method)
            if let name = params["name"]?.string { request.headers.add(name: "mcp-name", value: name) }
        } else if method != "initialize" {
            request.headers.add(name: "mcp-protocol-version", value: "2025-11-25")
        }
        if let session { request.headers.add(name: "mcp-session-id", value: session) }
        var message: [String: JSONValue] = ["jsonrpc": "2.0", "method": .string(method), "params": .object(params)]
        message["id"] = id
        request.body = .bytes(ByteBuffer(bytes: try JSON.encode(message)))
        return request
    }

    func call(_ name: String, _ arguments: JSONValue, modern: Bool, token: JSONValue? = nil) throws -> HTTPClientRequest
    {
        var params: [String: JSONValue] = ["name": .string(name), "arguments": arguments]
        if let token { params["_meta"] = ["progressToken": token] }
        return try mcp("tools/call", params, modern: modern)
    }
}

@Suite(.endsInTime) struct MCPTests {
    @Test func bothErasBegin() async throws {
        try await withServer { server in
            let discovery = try await server.send(try server.mcp("server/discover", modern: true)).json()["result"]
            #expect(discovery?["supportedVersions"]?.array?.contains("2026-07-28") == true)
            let params: [String: JSONValue] = ["protocolVersion": "2025-11-25", "capabilities": .object([:])]
            let answer = try await server.send(try server.mcp("initialize", params, modern: false))
            #expect(try answer.json()["result"]?["protocolVersion"] == "2025-11-25")
            let session = try #require(answer.headers.first(name: "mcp-session-id"))
            let initialized = try server.mcp("notifications/initialized", id: nil, modern: false, session: session)
            let accepted = try await server.send(initialized)
            #expect(accepted.status == 202 && accepted.body.readableBytes == 0)
            let ping = try await server.send(try server.mcp("ping", modern: false, session: session))
            #expect(try ping.json()["result"] == .object([:]))
        }
    }

    @Test(arguments: [false, true])
    func listsWhatAgentsMaySee(modern: Bool) async throws {
        try await withServer { server in
            let first = try await server.send(try server.mcp("tools/list", modern: modern))
            let tools = try first.json()["result"]?["tools"]?.array ?? []
            let visible = server.backend.operations.filter(\.visibleToAgents).map(\.name)
            #expect(tools.compactMap { $0["name"]?.string } == visible && !visible.contains("test.hidden"))
            for tool in tools {
                let annotations = tool["annotations"]?.object ?? [:]
                #expect(
                    Set(annotations.keys)
                        == ["title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"])
                #expect(tool["inputSchema"]?["type"] == "object" && tool["outputSchema"]?["type"] == "object")
            }
            #expect(try await server.send(try server.mcp("tools/list", modern: modern)).body == first.body)
        }
    }

    @Test(arguments: [false, true])
    func callsATool(modern: Bool) async throws {
        try await withServer { server in
            let good = try await server.send(try server.call("test.echo", ["text": "hi"], modern: modern))
            #expect(good.status == 200 && good.headers.first(name: "content-type") == "application/json")
            #expect(try good.json()["result"]?["structuredContent"] == ["text": "hi"])
            for (name, arguments, code) in [
                ("test.fail", ["code": "stale"] as JSONValue, "stale"), ("test.echo", ["txt": "hi"], "invalid"),
            ] {
                let bad = try await server.send(try server.call(name, arguments, modern: modern))
                let result = try bad.json()["result"]
                #expect(bad.status == 200 && result?["isError"] == true)
                #expect(result?["content"]?.array?.first?["text"]?.string?.hasPrefix(code) == true)
                #expect(result?["_meta"]?["dev.fastable/error"]?["code"]?.string == code)
            }
            for name in ["test.nothing", "test.hidden"] {
                let unknown = try await server.send(try server.call(name, [:], modern: modern))
                #expect(unknown.status == (modern ? 400 : 200))
                #expect(try unknown.json()["error"]?["code"] == -32602)
            }
        }
    }

    @Test func scopesCountForToolsToo() async throws {
        try await withServer { server in
            var request = try server.call("test.echo", ["text": "hi"], modern: true)
            request.headers.replaceOrAdd(name: "authorization", value: "Bearer \(TestBackend.readerToken)")
            let result = try await server.send(request).json()["result"]
            #expect(result?["isError"] == true)
            #expect(result?["_meta"]?["dev.fastable/error"]?["code"] == "forbidden")
        }
    }

    @Test(arguments: [false, true])
    func progressComesWhileItPrints(modern: Bool) async throws {
        try await withServer { server in
            let arguments: JSONValue = ["pieces": ["one\n", "two\n", "three\n"], "pauseMs": 250]
            let answer = try await server.send(
                try server.call("test.print", arguments, modern: modern, token: "tok"))
            #expect(answer.headers.first(name: "content-type") == "text/event-stream")
            #expect(answer.headers.first(name: "x-accel-buffering") == "no")
            var reader = EventReader()
            reader.append(answer.body.readableBytesView)
            let messages = try reader.events.map { try JSON.decode(JSONValue.self, from: Data($0.data.utf8)) }
            let notes = messages.dropLast()
            #expect(reader.events.allSatisfy { $0.event == "message" })
            #expect(
                notes.allSatisfy { $0["method"] == "notifications/progress" && $0["params"]?["progressToken"] == "tok" }
            )
            // What comes within a moment stands in one message.
            let told = notes.compactMap { $0["params"]?["message"]?.string }
            #expect(told.joined() == "one\ntwo\nthree\n" && told.count >= 2)
            #expect(notes.compactMap { $0["params"]?["progress"]?.integer } == (1...told.count).map { Int64($0) })
            #expect(messages.last?["result"]?["structuredContent"]?["count"] == 3 && messages.last?["id"] == 1)
        }
    }

    @Test func aFloodOfOutputBecomesFewNotifications() async throws {
        try await withServer { server in
            let answer = try await server.send(
                try server.call("test.flood", ["bytes": 20_000_000, "chunk": 1000], modern: true, token: 1))
            var reader = EventReader()
            reader.append(answer.body.readableBytesView)
            #expect(reader.events.count < 200 && answer.body.readableBytes < 1_000_000)
            #expect(reader.events.last?.data.contains("20000000") == true)
        }
    }

    @Test func whoeverWantsNoEventsGetsJSON() async throws {
        try await withServer { server in
            var request = try server.call("test.print", ["pieces": ["a"], "pauseMs": 200], modern: true, token: 1)
            request.headers.replaceOrAdd(name: "accept", value: "application/json")
            let answer = try await server.send(request)
            #expect(answer.headers.first(name: "content-type") == "application/json")
            #expect(try answer.json()["result"]?["isError"] == false)
        }
    }
}

@Suite(.endsInTime) struct MCPRefusalTests {
    @Test func protocolErrorsHaveTheirStatus() async throws {
        try await withServer { server in
            var mismatch = try server.mcp("tools/list", modern: true)
            mismatch.headers.replaceOrAdd(name: "mcp-method", value: "tools/call")
            var version = try server.mcp("tools/list", modern: false)
            version.headers.replaceOrAdd(name: "mcp-protocol-version", value: "1900-01-01")
            var broken = try server.mcp("tools/list", modern: true)
            broken.body = .bytes(ByteBuffer(string: "{"))
            for (request, status, code) in [
                (mismatch, 400, -32020), (version, 400, -32022), (broken, 400, -32700),
                (try server.mcp("none", modern: true), 404, -32601),
                (try server.mcp("none", modern: false), 200, -32601),
                (try server.mcp("tools/call", modern: true), 400, -32602),
                (try server.mcp("tools/call", modern: false), 200, -32602),
            ] as [(HTTPClientRequest, Int, Int64)] {
                let answer = try await server.send(request)
                #expect(answer.status == status && answer.headers.first(name: "content-type") == "application/json")
                #expect(try answer.json()["error"]?["code"]?.integer == code)
            }
        }
    }

    @Test func originsMethodsAndTokens() async throws {
        try await withServer { server in
            for (origin, status) in [
                ("http://evil.example", 403), ("null", 403), ("http://localhost:5173", 200),
                ("https://console.example.com", 200),
            ] {
                var request = try server.mcp("tools/list", modern: true)
                request.headers.add(name: "origin", value: origin)
                #expect(try await server.send(request).status == status, "\(origin)")
            }
            for method in [HTTPMethod.GET, .DELETE] {
                let answer = try await server.send(server.request(method, "/api/mcp"))
                #expect(answer.status == 405 && answer.headers.first(name: "allow") == "POST")
            }
            var anonymous = try server.mcp("tools/list", modern: true)
            anonymous.headers.remove(name: "authorization")
            #expect(try await server.send(anonymous).status == 401)
        }
    }
}

@Suite(.endsInTime) struct MCPCancellationTests {
    @Test(arguments: [nil, "tok"] as [JSONValue?])
    func aModernClientCancelsByGoingAway(token: JSONValue?) async throws {
        try await withServer { server in
            let request = try server.call("test.wait", ["print": true], modern: true, token: token)
            let call = Task { try await server.send(request) }
            #expect(await server.backend.probe.saw("began"))
            try await Task.sleep(for: .milliseconds(100))
            call.cancel()
            #expect(await server.backend.probe.saw("cancelled"))
        }
    }

    @Test func aLegacyClientCancelsByNotification() async throws {
        try await withServer { server in
            let params: [String: JSONValue] = ["name": "test.wait", "arguments": ["print": true]]
            let request = try server.mcp("tools/call", params, id: 5, modern: false, session: Self.session)
            let call = Task { try await server.send(request) }
            #expect(await server.backend.probe.saw("began"))
            for (session, id) in [(Self.session, 6), (RequestID().description, 5)] as [(String, JSONValue)] {
                try await cancel(id, session, server)
            }
            try await cancel("5", Self.session, server)
            #expect(
                !(await server.backend.probe.saw("cancelled", within: .milliseconds(200))), "other calls are not meant")
            try await cancel(5, Self.session, server)
            #expect(await server.backend.probe.saw("cancelled"))
            let result = try await call.value.json()["result"]
            #expect(result?["isError"] == true && result?["_meta"]?["dev.fastable/error"]?["code"] == "cancelled")
        }
    }

    /// By the legacy revisions' rule a lost connection is no cancellation.
    @Test func aLegacyCallGoesOnWithoutItsClient() async throws {
        try await withServer { server in
            let call = Task { try await server.send(try server.call("test.slow", ["ms": 700], modern: false)) }
            #expect(await server.backend.probe.saw("slow began"))
            call.cancel()
            #expect(await server.backend.probe.saw("slow ended"))
        }
    }

    private static let session = RequestID().description

    private func cancel(_ id: JSONValue, _ session: String, _ server: TestServer) async throws {
        let notification = try server.mcp(
            "notifications/cancelled", ["requestId": id], id: nil, modern: false, session: session)
        #expect(try await server.send(notification).status == 202)
    }
}
