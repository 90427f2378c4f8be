import ControllerAPI
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct MCPReaderTests {
    private static let modern = "2026-07-28"
    private static let meta =
        #""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#

    private func read(_ body: String, _ headers: MCPHeaders = MCPHeaders()) throws -> MCPMessage {
        try MCPReader.read(Data(body.utf8), headers: headers)
    }

    private func failure(_ body: String, _ headers: MCPHeaders = MCPHeaders()) -> MCPFailure? {
        do {
            let message = try MCPReader.read(Data(body.utf8), headers: headers)
            Issue.record("understood as \(message)")
            return nil
        } catch {
            return error
        }
    }

    private func modernHeaders(_ method: String, name: String? = nil) -> MCPHeaders {
        MCPHeaders(protocolVersion: [Self.modern], method: [method], name: name.map { [$0] } ?? [])
    }

    // MARK: the envelope

    @Test(arguments: [
        ("", MCPFailure.Code.parseError), ("{", .parseError), (#"{"a":1,"a":2}"#, .parseError), ("[]", .invalidRequest),
        (#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, .invalidRequest), ("1", .invalidRequest),
        (#"{"id":1,"method":"ping"}"#, .invalidRequest),
        (#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, .invalidRequest),
        (#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, .invalidRequest),
        (#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, .invalidRequest),
        (#"{"jsonrpc":"2.0","id":1}"#, .invalidRequest), (#"{"jsonrpc":"2.0","id":1,"result":{}}"#, .invalidRequest),
        (#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, .invalidRequest),
        (#"{"jsonrpc":"2.0","id":1,"method":7}"#, .invalidRequest),
    ])
    func refusesWhatIsNoMessage(body: String, code: MCPFailure.Code) {
        #expect(failure(body)?.code == code)
    }

    @Test func anIDKeepsItsType() throws {
        #expect(
            try read(#"{"jsonrpc":"2.0","id":"1","method":"ping"}"#)
                == .request(MCPRequest(id: .string("1"), revision: .v20250326, call: .ping)))
        #expect(
            try read(#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
                == .request(MCPRequest(id: .integer(1), revision: .v20250326, call: .ping)))
    }

    // MARK: modern

    @Test func readsAModernCall() throws {
        let body =
            #"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"fs.read","arguments":{"path":"a"},"#
            + #""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#
            + #""io.modelcontextprotocol/clientCapabilities":{},"progressToken":"t"}}}"#
        let call = MCPToolCall(name: "fs.read", arguments: Data(#"{"path":"a"}"#.utf8), progressToken: .string("t"))
        #expect(
            try read(body, modernHeaders("tools/call", name: "fs.read"))
                == .request(MCPRequest(id: .integer(3), revision: .v20260728, call: .callTool(call))))
    }

    @Test func readsAnIdempotencyKey() throws {
        func body(_ key: String) -> String {
            #"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"a","_meta":{"fastable.dev/idempotencyKey":\#(key)}}}"#
        }
        let call = MCPToolCall(name: "a", arguments: Data("{}".utf8), progressToken: nil, idempotencyKey: "k-1")
        #expect(
            try read(body(#""k-1""#))
                == .request(MCPRequest(id: .integer(3), revision: .v20250326, call: .callTool(call))))
        for key in [#""""#, #""a b""#, "7", "null", #""\#(String(repeating: "a", count: 256))""#] {
            let failure = #expect(throws: MCPFailure.self) { try read(body(key)) }
            #expect(failure?.message.contains("fastable.dev/idempotencyKey") == true)
        }
    }

    @Test func discoversAndLists() throws {
        for (method, call) in [("server/discover", MCPRequest.Call.discover), ("tools/list", .listTools)] {
            let body = #"{"jsonrpc":"2.0","id":1,"method":"\#(method)","params":{\#(Self.meta)}}"#
            #expect(
                try read(body, modernHeaders(method))
                    == .request(MCPRequest(id: .integer(1), revision: .v20260728, call: call)))
        }
    }

    @Test func missingMetadataIsInvalidParams() {
        let bare = #"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#
        let onlyVersion =
            #"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#
        for body in [bare, onlyVersion] {
            let failure = failure(body, modernHeaders("tools/list"))
            #expect(failure?.code == .invalidParams && failure?.isModern == true && failure?.id == .integer(1))
        }
    }

    @Test(arguments: [
        MCPHeaders(), MCPHeaders(protocolVersion: ["2025-11-25"], method: ["tools/call"], name: ["fs.read"]),
        MCPHeaders(protocolVersion: [modern], name: ["fs.read"]),
        MCPHeaders(protocolVersion: [modern], method: ["tools/list"], name: ["fs.read"]),
        MCPHeaders(protocolVersion: [modern], method: ["tools/call"]),
        MCPHeaders(protocolVersion: [modern], method: ["tools/call"], name: ["fs.write"]),
        MCPHeaders(protocolVersion: [modern], method: ["tools/call"], name: ["=?base64?!!?="]),
        MCPHeaders(protocolVersion: [modern], method: ["tools/call", "tools/call"], name: ["fs.read"]),
    ])
    func headersMustAgreeWithTheBody(headers: MCPHeaders) {
        let body = #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fs.read",\#(Self.meta)}}"#
        #expect(failure(body, headers)?.code == .headerMismatch)
    }

    @Test func anEncodedNameIsDecoded() throws {
        let body = #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é",\#(Self.meta)}}"#
        let encoded = "=?base64?\(Data("é".utf8).base64EncodedString())?="
        guard case .request = try read(body, modernHeaders("tools/call", name: encoded)) else {
            Issue.record("not a request")
            return
        }
        #expect(MCPHeaderValue.decode("=?base64?w6l=?=") == nil, "not the canonical form")
        #expect(MCPHeaderValue.decode("plain") == "plain" && MCPHeaderValue.decode("=?base64?=") == "=?base64?=")
    }

    @Test func anUnknownVersionNamesTheKnownOnes() {
        let version =
            #""_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01","io.modelcontextprotocol/clientCapabilities":{}}"#
        let modern = failure(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{\#(version)}}"#,
            MCPHeaders(protocolVersion: ["2099-01-01"], method: ["tools/list"]))
        let legacy = failure(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, MCPHeaders(protocolVersion: ["1900-01-01"]))
        for (failure, requested) in [(modern, "2099-01-01"), (legacy, "1900-01-01")] {
            #expect(failure?.code == .unsupportedProtocolVersion)
            #expect(failure?.data?["requested"]?.string == requested)
            #expect(failure?.data?["supported"]?.array?.contains("2026-07-28") == true)
        }
    }

    @Test(arguments: ["initialize", "ping", "resources/list", "logging/setLevel", "subscriptions/listen"])
    func aModernServerHasNoSuchMethod(method: String) {
        let body = #"{"jsonrpc":"2.0","id":1,"method":"\#(method)","params":{\#(Self.meta)}}"#
        #expect(failure(body, modernHeaders(method))?.code == .methodNotFound)
    }

    // MARK: legacy

    @Test(arguments: [
        ("2025-11-25", MCPRevision.v20251125), ("2025-06-18", .v20250618), ("2025-03-26", .v20250326),
        ("1999-01-01", .v20251125), ("2026-07-28", .v20251125),
    ])
    func initializeAgreesOnARevision(wanted: String, agreed: MCPRevision) throws {
        let body = #"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"\#(wanted)"}}"#
        #expect(
            try read(body) == .request(MCPRequest(id: .integer(1), revision: agreed, call: .initialize)))
    }

    @Test func legacyErrorsOfACallAreNotModern() {
        let headers = MCPHeaders(protocolVersion: ["2025-11-25"])
        for body in [
            #"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#,
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":1.5}}}"#,
            #"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}"#,
        ] {
            #expect(failure(body, headers)?.isModern == false, "\(body)")
        }
    }

    @Test func argumentsMayBeMissing() throws {
        for arguments in ["", #","arguments":null"#, #","arguments":{}"#] {
            let body = #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"\#(arguments)}}"#
            let call = MCPToolCall(name: "a", arguments: Data("{}".utf8), progressToken: nil)
            #expect(
                try read(body) == .request(MCPRequest(id: .integer(1), revision: .v20250326, call: .callTool(call))))
        }
    }

    // MARK: notifications

    @Test func onlyLegacyClientsCancelByNotification() throws {
        let body = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#
        #expect(try read(body) == .notification(.cancelled(.integer(7))))
        #expect(try read(body, MCPHeaders(protocolVersion: ["2025-11-25"])) == .notification(.cancelled(.integer(7))))
        #expect(try read(body, MCPHeaders(protocolVersion: [Self.modern])) == .notification(.other))
    }

    @Test func otherNotificationsAreTaken() throws {
        for params in [#"{"requestId":{}}"#, "{}"] {
            let body = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":\#(params)}"#
            #expect(try read(body) == .notification(.other))
        }
        #expect(try read(#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#) == .notification(.other))
        let unknown = failure(
            #"{"jsonrpc":"2.0","method":"notifications/x"}"#, MCPHeaders(protocolVersion: ["1900-01-01"]))
        #expect(unknown?.code == .unsupportedProtocolVersion && unknown?.id == nil)
    }

    /// Random bytes and broken messages are refused and never crash.
    @Test(arguments: seeds())
    func hostileBodiesAreRefused(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let sample = Array(
            #"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"fs.read","arguments":{"p":[1,{"a":"é"}]},\#(Self.meta)}}"#
                .utf8)
        for _ in 0..<3000 {
            var body = sample
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !body.isEmpty {
                let index = Int.random(in: body.indices, using: &generator)
                switch Int.random(in: 0...2, using: &generator) {
                case 0: body[index] = .random(in: 0...255, using: &generator)
                case 1: body.remove(at: index)
                default: body = Array(body[..<max(1, index)])
                }
            }
            _ = try? MCPReader.read(Data(body), headers: modernHeaders("tools/call", name: "fs.read"))
        }
    }
}
