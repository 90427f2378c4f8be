import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore

/// Operations that do what a test asks for.
enum TestOperations {
    struct Entry: Sendable {
        var operation: Operation
        var handler: TestBackend.Handler
    }

    static func all(_ probe: Probe) -> [Entry] {
        [
            entry("test.echo", [.required("text", .string()), .optional("count", .integer(1...9))]) { input, _ in
                ["text": input["text"] ?? .null]
            },
            entry("test.fail", [.required("code", .string())]) { input, _ in
                let code = FastableError.Code(rawValue: input["code"]?.string ?? "") ?? .internal
                throw FastableError(
                    code, "It failed.", context: "host secret", details: ["fact": 1], retryAfterSeconds: 7)
            },
            entry("test.print", [.required("pieces", .array(.string())), .optional("pauseMs", .integer(0...5000))]) {
                try await print($0, $1)
            },
            entry("test.bytes", []) { _, context in
                try await context.events?(.output(channel: 1, ByteBuffer(bytes: [0xff, 0x00, 0xfe])))
                try await context.events?(.output(channel: 2, ByteBuffer(bytes: [0xe2, 0x82])))
                return [:]
            },
            entry("test.gap", []) { _, context in
                try await context.events?(.output(channel: 1, ByteBuffer(bytes: [0x61, 0xe2])))
                try await context.events?(.missing(channel: 1, from: 2, to: 100))
                try await context.events?(.output(channel: 1, ByteBuffer(string: "b")))
                return [:]
            },
            entry("test.find", []) { _, context in
                try await context.events?(.found([["path": "a"], ["path": "b\n", "line": 2, "text": "x"]]))
                return [
                    "collected": .bool(context.collectsFound),
                    "key": context.idempotencyKey.map(JSONValue.string) ?? .null,
                ]
            },
            entry("test.flood", [.required("bytes", .integer()), .required("chunk", .integer())]) {
                try await flood($0, $1, probe)
            },
            entry("test.wait", [.optional("print", .boolean())]) { try await wait($0, $1, probe) },
            entry("test.slow", [.required("ms", .integer(0...20_000))]) { input, _ in
                probe.note("slow began")
                try await Task.sleep(for: .milliseconds(input["ms"]?.integer ?? 0))
                probe.note("slow ended")
                return ["done": true]
            },
            entry("shell.kill", [.required("execId", .string()), .required("signal", .string())]) { input, _ in
                probe.note("kill \(input["signal"]?.string ?? "")")
                return [:]
            },
            entry("test.hidden", [], visible: false) { _, _ in [:] },
            entry("test.reads", [], scope: .filesRead) { _, _ in ["ok": true] },
        ]
    }

    private static func print(_ input: JSONValue, _ context: OperationContext) async throws -> JSONValue {
        try await context.events?(.execStarted(TestBackend.exec))
        let pieces = input["pieces"]?.array ?? []
        for (index, piece) in pieces.enumerated() {
            try await context.events?(.output(channel: index % 2 == 0 ? 1 : 2, ByteBuffer(string: piece.string ?? "")))
            try await Task.sleep(for: .milliseconds(input["pauseMs"]?.integer ?? 0))
        }
        return ["count": .integer(Int64(pieces.count)), "collected": .bool(context.collectsOutput)]
    }

    private static func flood(
        _ input: JSONValue, _ context: OperationContext, _ probe: Probe
    ) async throws -> JSONValue {
        let total = Int(input["bytes"]?.integer ?? 0)
        let chunk = ByteBuffer(repeating: UInt8(ascii: "x"), count: Int(input["chunk"]?.integer ?? 1))
        var sent = 0
        while sent < total {
            let piece = chunk.getSlice(at: 0, length: min(chunk.readableBytes, total - sent)) ?? chunk
            try await context.events?(.output(channel: 1, piece))
            sent += piece.readableBytes
            probe.note("sent \(sent)")
        }
        return ["bytes": .integer(Int64(sent))]
    }

    private static func wait(
        _ input: JSONValue, _ context: OperationContext, _ probe: Probe
    ) async throws -> JSONValue {
        probe.note("began")
        if input["print"] == true { try await context.events?(.output(channel: 1, ByteBuffer(string: "waiting\n"))) }
        do {
            try await Task.sleep(for: .seconds(3600))
        } catch {
            probe.note("cancelled")
            throw error
        }
        return [:]
    }

    private static func entry(
        _ name: String, _ fields: [JSONSchema.Property], scope: Scope = .exec, visible: Bool = true,
        _ handler: @escaping TestBackend.Handler
    ) -> Entry {
        Entry(
            operation: .make(
                name, .init(name, "For tests."), scope: scope, annotations: .reading, input: JSONValue.self,
                accepts: .input(fields), answers: .output([]), visibleToAgents: visible
            ) { (input: JSONValue, _) in input }, handler: handler)
    }
}
