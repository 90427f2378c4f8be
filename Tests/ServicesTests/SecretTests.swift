import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import Foundation
import TestSupport
import Testing

/// Secrets of commands in what the controller keeps.
@Suite(.endsInTime) struct SecretTests {
    private static let value = "tr0ub4dor-and-3"

    private static func input(_ change: [String: JSONValue] = [:]) -> JSONValue {
        let input: [String: JSONValue] = [
            "project": "shop", "cmd": .string("deploy --token \(value)"), "cwd": .string("/\(value)"),
            "secretEnv": ["TOKEN": .string(value)],
        ]
        return .object(input.merging(change) { $1 })
    }

    @Test func valuesAreRecordedNowhere() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish()
            }
            var context = world.context()
            context.idempotencyKey = "k-1"
            try await world.run("shell.exec", Self.input(), context)
            let start = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect(start.command.secrets?.values == ["TOKEN": Self.value] && start.command.environment.isEmpty)

            nodes[0].onExec { _, _ in throw FastableError(.limit, "There is no room.") }
            _ = await expectFailure(.limit) { try await world.run("shell.exec", Self.input()) }
            let events = try await world.audit("shell.exec")
            #expect(events.count >= 4)
            for event in events {
                #expect(event.detail["secretEnv"] == ["TOKEN"])
                #expect(event.detail["cmd"] == .string("deploy --token " + String(repeating: "*", count: 15)))
            }
            for name in try FileManager.default.contentsOfDirectory(atPath: world.folder) {
                let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(world.folder)/\(name)"))
                #expect(bytes.range(of: Data(Self.value.utf8)) == nil, "\(name)")
            }
        }
    }

    /// Who has the database can compute digests of guesses, but not the one that stands there.
    @Test func digestsOfInputsAreKeyed() async throws {
        let digests = [try await digest(), try await digest()]
        #expect(digests[0].count == 32 && digests[0] != digests[1])
    }

    /// What an installation of its own stores of the same input.
    private func digest() async throws -> [UInt8] {
        try await World.with { world, _ in
            try await world.project()
            var context = world.context()
            context.idempotencyKey = "k-1"
            try await world.run("shell.exec", Self.input(), context)
            let record = OnceRecord(
                key: OnceKey(workspace: world.workspace, text: "k-1"), digest: [], exec: ExecID(),
                expiresAt: .distantFuture)
            let intent = AuditEvent(
                timeMilliseconds: 0, workspace: world.workspace, actor: nil, door: .system, request: RequestID(),
                operation: "test", phase: .intent)
            let found = try await world.store.beginOnce(record, intent: intent, at: Date())
            guard case .known(let known) = found else { throw FastableError(.internal, "no record") }
            return known.digest
        }
    }

    @Test func whatCannotBeKeptSecretIsRefused() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let refused: [(JSONValue, String)] = [
                (Self.input(["secretEnv": ["A": "1234567"]]), "secretEnv.A"),
                (Self.input(["env": ["TOKEN": "x"]]), "secretEnv.TOKEN"),
                (Self.input(["secretEnv": ["A-B": .string(Self.value)]]), "secretEnv.A-B"),
                (Self.input(["secretEnv": ["A": .string(Self.value + "\u{0}")]]), "secretEnv.A"),
            ]
            for (input, field) in refused {
                let error = await expectFailure(.unprocessable) { try await world.run("shell.exec", input) }
                #expect(error?.details["field"] == .string(field))
                #expect(error.map { "\($0)" }?.contains(Self.value) == false)
            }
            #expect(try nodes[0].requests(.execStart, ExecStart.self).isEmpty)
        }
    }
}
