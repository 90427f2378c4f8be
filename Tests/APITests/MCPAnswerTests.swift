import ControllerAPI
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import Testing

@Suite struct MCPAnswerTests {
    private let modern = MCPRequest(id: .string("é\""), revision: .v20260728, call: .listTools)
    private let legacy = MCPRequest(id: .integer(4), revision: .v20251125, call: .listTools)
    private let output = Data(#"{"path":"a \"b\"","lines":[1,2]}"#.utf8)

    private func json(_ buffer: ByteBuffer) throws -> JSONValue { try JSONParser.parse(Data(buffer.readableBytesView)) }

    @Test func aResultHasTextAndStructure() throws {
        let answers = try MCPAnswer(programVersion: "1.2")
        for request in [modern, legacy] {
            let message = try json(answers.toolResult(request, output: output))
            #expect(message["id"] == request.id.json && message["jsonrpc"] == "2.0")
            let result = message["result"]
            #expect(result?["structuredContent"] == (try JSONParser.parse(output)))
            #expect(result?["content"]?.array?.first?["text"]?.string == String(decoding: output, as: UTF8.self))
            #expect(result?["isError"] == false)
            #expect((result?["resultType"] == "complete") == request.revision.isModern)
            let info = result?["_meta"]?["io.modelcontextprotocol/serverInfo"]
            #expect((info?["version"] == "1.2") == request.revision.isModern)
        }
    }

    @Test func aFailureHasTheCodeInTextAndForPrograms() throws {
        let answers = try MCPAnswer(programVersion: "1")
        let error = FastableError(
            .stale, "Read it again.", context: "secret", details: ["sha256": "ab"], retryAfterSeconds: 2)
        for request in [modern, legacy] {
            let buffer = answers.toolFailure(request, error)
            let result = try json(buffer)["result"]
            #expect(result?["isError"] == true && result?["structuredContent"] == nil)
            let text = result?["content"]?.array?.first?["text"]?.string
            #expect(text == "stale: Read it again. Try again in 2 s.\n{\"sha256\":\"ab\"}")
            #expect(result?["_meta"]?["dev.fastable/error"]?["code"] == "stale")
            #expect(!String(buffer: buffer).contains("secret"))
        }
    }

    @Test func emptyResultsAreObjects() throws {
        let answers = try MCPAnswer(programVersion: "1")
        #expect(try json(answers.result(legacy, members: ByteBuffer()))["result"] == .object([:]))
        #expect(try json(answers.result(modern, members: ByteBuffer()))["result"]?["resultType"] == "complete")
    }

    @Test func theListIsCacheableForModernClients() throws {
        let answers = try MCPAnswer(programVersion: "1")
        let tools = ByteBuffer(string: #"[{"name":"a"}]"#)
        let result = try json(answers.toolList(modern, tools: tools))["result"]
        #expect(result?["tools"]?.array?.count == 1 && result?["ttlMs"]?.integer != nil)
        #expect(result?["cacheScope"] == "private")
        #expect(try json(answers.toolList(legacy, tools: tools))["result"]?["ttlMs"] == nil)
    }

    @Test func discoveryAndInitialization() throws {
        let answers = try MCPAnswer(programVersion: "1")
        let discovery = try json(answers.discovery(modern))["result"]
        #expect(discovery?["supportedVersions"]?.array?.first == "2026-07-28")
        #expect(discovery?["capabilities"]?["tools"] != nil && discovery?["ttlMs"]?.integer != nil)
        let initialization = try json(answers.initialization(legacy))["result"]
        #expect(initialization?["protocolVersion"] == "2025-11-25")
        #expect(initialization?["serverInfo"]?["name"] == "fastable")
    }

    @Test func failuresKeepIDAndData() throws {
        let failure = MCPFailure(.unsupportedProtocolVersion, "m", id: .integer(9), data: ["supported": []])
        let message = try json(MCPAnswer.failure(failure))
        #expect(
            message["id"] == 9 && message["error"]?["code"] == -32022 && message["error"]?["data"]?["supported"] == [])
        #expect(try json(MCPAnswer.failure(MCPFailure(.parseError, "m", id: nil)))["id"] == .null)
    }

    @Test func progressNamesTheToken() throws {
        let params = try json(MCPAnswer.progress(.string("t"), count: 3, message: "a\nb"))["params"]
        #expect(params == ["progressToken": "t", "progress": 3, "message": "a\nb"])
    }
}

@Suite struct MCPProgressTests {
    @Test func gathersWhatCameAndCounts() {
        var progress = MCPProgress()
        #expect(progress.takeMessage() == nil && progress.count == 0)
        progress.add(.output(channel: 1, ByteBuffer(string: "a")))
        progress.add(.output(channel: 2, ByteBuffer(string: "b\n")))
        progress.add(.progress(message: "half", fraction: 0.5))
        progress.add(.execStarted(ExecID()))
        #expect(progress.takeMessage() == "ab\nhalf (50 %)\n" && progress.count == 1)
        #expect(progress.takeMessage() == nil)
        progress.add(.output(channel: 1, ByteBuffer(string: "c")))
        #expect(progress.takeMessage() == "c" && progress.count == 2)
        progress.add(.found([["path": "a.c", "line": 3, "text": "x: y"], ["path": "b.c"]]))
        #expect(progress.takeMessage() == "a.c:3:x: y\nb.c\n")
        progress.add(.output(channel: 1, ByteBuffer(string: "ab")))
        progress.add(.missing(channel: 1, from: 2, to: 100))
        progress.add(.output(channel: 1, ByteBuffer(string: "c")))
        #expect(progress.takeMessage() == "ab\n[98 bytes are no longer kept]\nc")
    }

    @Test func showsTheEndOfMuchOutput() {
        var progress = MCPProgress()
        for _ in 0..<50 { progress.add(.output(channel: 1, ByteBuffer(string: String(repeating: "é", count: 5000)))) }
        progress.add(.output(channel: 1, ByteBuffer(string: "end")))
        let message = progress.takeMessage() ?? ""
        #expect(message.hasPrefix("…é") && message.hasSuffix("éend") && message.utf8.count <= 4096 + 3)
    }

    @Test func aCharacterCutBetweenChunksIsWhole() {
        var progress = MCPProgress()
        progress.add(.output(channel: 1, ByteBuffer(bytes: [0xe2, 0x82])))
        #expect(progress.takeMessage() == nil)
        progress.add(.output(channel: 1, ByteBuffer(bytes: [0xac])))
        #expect(progress.takeMessage() == "€")
    }
}
