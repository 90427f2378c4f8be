import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// A change under an idempotency key, while daemons are killed at random moments.
@Suite(
    "A keyed command runs once, whatever dies", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct OnceTests {
    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    private static let rounds = 4 * (number("FASTABLE_FAULT_ROUNDS") ?? 1)
    /// Given to repeat a run that failed.
    private static let seed =
        number("FASTABLE_FAULT_SEED").map { UInt64(bitPattern: Int64($0)) } ?? UInt64(UInt32.random(in: .min ... .max))

    /// Asks under a key; `nil` when nobody answered.
    private static func ask(
        _ host: Installation, _ key: String, _ command: String
    ) async throws -> (status: Int, body: JSONValue)? {
        let input: JSONValue = ["project": "p", "cmd": .string(command)]
        do {
            let answer = try await host.request(
                .POST, "/api/tools/shell.exec", body: try JSON.encode(input), more: [("idempotency-key", key)])
            return (answer.status, try JSON.decode(JSONValue.self, from: answer.body))
        } catch {
            try Task.checkCancellation()
            return nil
        }
    }

    /// The same until there is an answer that is not about a daemon that is away.
    private static func insist(
        _ host: Installation, _ key: String, _ command: String
    ) async throws -> (status: Int, body: JSONValue) {
        let deadline = ContinuousClock.now + .seconds(300)
        var last: (status: Int, body: JSONValue)?
        while ContinuousClock.now < deadline {
            last = try await ask(host, key, command) ?? last
            if let last, last.status != 503 { return last }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw FastableError(.timeout, "no answer under \(key); the last one was \(String(describing: last))")
    }

    private static func restart(_ generator: inout SeededGenerator, _ host: Installation) async throws -> String {
        let isController = generator.chance(50)
        if isController { host.killController() } else { host.killNode(0) }
        try await Task.sleep(for: .milliseconds(generator.int(0...300)))
        if isController { try await host.startController() } else { try await host.startNode(0, expectReady: false) }
        return isController ? "controller" : "node"
    }

    /// What such a command has written, some seconds from now.
    private static func ran(_ host: Installation, _ round: Int, in seconds: Int) async throws -> String {
        try await eventually("the node is back") { await host.nodeState(0) == "ready" }
        let command = "sleep \(seconds); cat ran-\(round) 2>/dev/null || true"
        return try await host.exec("p", command)["stdout"]?.string ?? ""
    }

    @Test(.timeLimit(.minutes(30))) func aRetryOverARestartRunsNothingTwice() async throws {
        try await Installation.with { host in
            var generator = SeededGenerator(seed: Self.seed)
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "true")
            for round in 0..<Self.rounds {
                let command = "echo x >> ran-\(round); sleep 0.0\(generator.int(0...9))"
                async let answer = Self.insist(host, "key-\(round)", command)
                try await Task.sleep(for: .milliseconds(generator.int(0...100)))
                let killed = try await Self.restart(&generator, host)
                let (status, body) = try await answer
                let what = "seed \(Self.seed), round \(round), \(killed) killed: \(body)"
                #expect(status == 200 && body["exitCode"] == 0, "\(what)")
                #expect(try await Self.ran(host, round, in: 0) == "x\n", "\(what)")
                // And how it ended is what everybody hears who asks again.
                let again = try await Self.insist(host, "key-\(round)", command)
                #expect(again.body["execId"] == body["execId"], "\(what)")
            }
            print("\(Self.rounds) keyed commands over restarts, seed \(Self.seed)")
        }
    }

    @Test(.timeLimit(.minutes(30))) func whatWasCancelledByItsKeyDoesNotRunAfterARestart() async throws {
        try await Installation.with { host in
            var generator = SeededGenerator(seed: ~Self.seed)
            try await host.tool("projects_create", ["name": "p"])
            _ = try await host.exec("p", "true")
            for round in 0..<Self.rounds {
                // It goes on when it may, which is after it was ended.
                let (key, gate) = ("cancelled-\(round)", "gate-\(round)")
                let command = "until [ -e \(gate) ]; do sleep 0.05; done; echo x >> ran-\(round)"
                let first = Task { try await Self.ask(host, key, command) }
                try await Task.sleep(for: .milliseconds(generator.int(0...60)))
                let receipt = try await host.tool("shell.kill", ["idempotencyKey": .string(key)])
                let killed = try await Self.restart(&generator, host)
                let retried = try await Self.insist(host, key, command)
                let what = "seed \(Self.seed), round \(round), \(killed) killed: \(receipt), then \(retried)"
                #expect(receipt["everythingEnded"] == true, "\(what)")
                #expect(retried.body["exitCode"] != 0, "\(what)")
                _ = await first.result
                // Behind everything that could still start it.
                try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                try await host.tool("fs.write", ["project": "p", "path": .string(gate), "content": ""])
                #expect(try await Self.ran(host, round, in: 2) == "", "\(what)")
            }
            print("\(Self.rounds) cancelled commands over restarts, seed \(Self.seed)")
        }
    }
}
