import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Idempotency keys for callers who listen while a command runs, and keys that are cancelled.
@Suite(.endsInTime) struct OnceStreamTests {
    private static let run: JSONValue = ["project": "shop", "cmd": "make"]

    /// What one caller hears.
    private final class Heard: Sendable {
        private let state = Mutex<(execs: [ExecID], text: String)>(([], ""))

        func hear(_ event: OperationEvent) {
            state.withLock { state in
                switch event {
                case .execStarted(let exec): state.execs.append(exec)
                case .output(_, let bytes): state.text += String(buffer: bytes)
                case .progress, .found, .missing: break
                }
            }
        }

        var execs: [ExecID] { state.withLock { $0.execs } }
        var text: String { state.withLock { $0.text } }
    }

    /// A door that gives the output byte for byte, and leaves it out of the answer.
    private func frames(_ world: World, _ heard: Heard) -> OperationContext {
        var context = world.context(events: { heard.hear($0) })
        context.idempotencyKey = "k-1"
        context.collectsOutput = false
        return context
    }

    private func json(_ world: World) -> OperationContext {
        var context = world.context()
        context.idempotencyKey = "k-1"
        return context
    }

    private func restarted(_ world: World) -> ControllerServices {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return ControllerServices(
            store: world.store, nodes: world.directory, authority: world.authority,
            configuration: ControllerServices.Configuration(
                endpoints: .init(apiURL: "http://127.0.0.1:1", nodeListener: .loopback(port: 1)),
                tokenFile: world.folder + "/token", snapshotDirectory: world.snapshotDirectory), logger: logger)
    }

    private func run(
        _ services: ControllerServices, _ name: String, _ input: JSONValue, _ context: OperationContext
    ) async throws -> JSONValue {
        try JSON.decode(from: try await services.catalog.run(name, input: JSON.encode(input), context: context))
    }

    /// A node that tells a command again from its beginning.
    private func know(_ output: String, code: Int32, on node: SimulatedNode) {
        node.handle(.execAttach) { stream, opening in
            let attach = try NodeRequest<ExecAttach>(opening: opening).arguments
            let start = ExecStart(
                exec: attach.exec,
                container: ContainerSpec(project: attach.project, workspace: WorkspaceID(), image: "x"),
                command: ExecCommand(arguments: ["x"]))
            let exec = SimulatedExec(start: start, stream: stream)
            try await exec.started()
            try await exec.write(output)
            try await exec.finish(code: code)
        }
    }

    private func starts(_ node: SimulatedNode) throws -> [ExecID] {
        try node.requests(.execStart, ExecStart.self).map(\.exec)
    }

    @Test func aRetryHearsTheWholeOutputAgain() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("built")
                try await exec.finish(code: 3)
            }
            know("built", code: 3, on: nodes[0])
            let (first, second, third) = (Heard(), Heard(), Heard())
            let answer = try await world.run("shell.exec", Self.run, frames(world, first))
            #expect(answer["stdout"] == "" && answer["exitCode"] == 3)
            #expect(try await world.run("shell.exec", Self.run, frames(world, second)) == answer)
            #expect(try await run(restarted(world), "shell.exec", Self.run, frames(world, third)) == answer)
            for heard in [first, second, third] {
                #expect(heard.text == "built")
                #expect(heard.execs.map { JSONValue.string($0.description) } == [answer["execId"]])
            }
            // Another form of the same request has what the first one left out.
            let whole = try await world.run("shell.exec", Self.run, json(world))
            #expect(whole["stdout"] == "built" && whole["execId"] == answer["execId"])
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    @Test func whatTheNodeHasForgottenIsNotRunAgain() async throws {
        try await World.with { world, nodes in
            try await world.project()
            _ = try await world.run("shell.exec", Self.run, frames(world, Heard()))
            nodes[0].handle(.execAttach) { _, _ in throw FastableError(.notFound, "There is no such command.") }
            await expectFailure(.gone) { try await world.run("shell.exec", Self.run, frames(world, Heard())) }
            // Who gets the output in the answer as well has most of it there.
            var context = frames(world, Heard())
            context.collectsOutput = true
            #expect(try await world.run("shell.exec", Self.run, context)["exitCode"] == 0)
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    @Test func whoComesWhileItRunsHearsItFromItsBeginning() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (held, release) = AsyncStream<Void>.makeStream()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("early ")
                for await _ in held { break }
                try await exec.write("late")
                try await exec.finish()
            }
            know("early late", code: 0, on: nodes[0])
            let (first, second) = (Heard(), Heard())
            let running = Task { try await world.run("shell.exec", Self.run, frames(world, first)) }
            try await eventually("it prints") { first.text == "early " }
            let joined = try await world.run("shell.exec", Self.run, frames(world, second))
            #expect(second.text == "early late" && first.text == "early ", "it did not wait for the first caller")
            release.yield()
            #expect(try await running.value["execId"] == joined["execId"])
            #expect(first.text == "early late")
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    @Test func overARestartAStreamIsToldFromItsBeginning() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("half")
                exec.stream.reset(FastableError(.unavailable, "The link is lost."))
            }
            await expectFailure(.unavailable) {
                try await world.run("shell.exec", Self.run, frames(world, Heard()))
            }
            know("half and half", code: 7, on: nodes[0])
            let heard = Heard()
            let answer = try await run(restarted(world), "shell.exec", Self.run, frames(world, heard))
            #expect(heard.text == "half and half" && answer["exitCode"] == 7 && answer["stdout"] == "")
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    // MARK: cancelling

    private static let cancel: JSONValue = ["idempotencyKey": "k-1"]

    @Test func aCancelSentBeforeTheStartFencesALateStart() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let receipt = try await world.run("shell.kill", Self.cancel)
            #expect(receipt["everythingEnded"] == true && receipt["exitCode"] == .null)
            for context in [json(world), frames(world, Heard())] {
                await expectFailure(.cancelled) { try await world.run("shell.exec", Self.run, context) }
                await expectFailure(.cancelled) {
                    _ = try await run(restarted(world), "shell.exec", Self.run, context)
                }
            }
            // Whatever it was to be.
            await expectFailure(.cancelled) {
                try await world.run("projects_create", ["name": "next"], json(world))
            }
            #expect(try starts(nodes[0]).isEmpty)
            #expect(try await world.audit("shell.kill").first?.detail["idempotencyKey"] == "k-1")
            // It is the key of one workspace.
            let other = world.context(world.principal(in: world.other))
            try await world.run("shell.kill", ["idempotencyKey": "k-2"], other)
            var mine = json(world)
            mine.idempotencyKey = "k-2"
            try await world.run("shell.exec", Self.run, mine)
        }
    }

    /// The link was lost before anybody knew whether the command had started. It has not, and after the cancel it never does.
    @Test func aCancelAfterALostLinkKeepsARetryFromStarting() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in exec.stream.reset(FastableError(.unavailable, "The link is lost.")) }
            let lost = await expectFailure(.unavailable) {
                try await world.run("shell.exec", Self.run, json(world))
            }
            nodes[0].handle(.execAttach) { _, _ in throw FastableError(.notFound, "There is no such command.") }
            nodes[0].reply(.execKill) { (_: ExecKill) in
                ExecKillReceipt(everythingEnded: true, wasForced: false, result: nil)
            }
            let services = restarted(world)
            let receipt = try await run(services, "shell.kill", Self.cancel, world.context())
            #expect(receipt["everythingEnded"] == true && receipt["execId"] == lost?.details["execId"])
            let kill = try #require(try nodes[0].requests(.execKill, ExecKill.self).last)
            #expect(JSONValue.string(kill.exec.description) == receipt["execId"] && kill.graceMilliseconds != nil)
            await expectFailure(.cancelled) { _ = try await run(services, "shell.exec", Self.run, json(world)) }
            await expectFailure(.cancelled) {
                _ = try await run(restarted(world), "shell.exec", Self.run, json(world))
            }
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    @Test func aCommandThatRunsIsEndedByItsKey() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (killed, kill) = AsyncStream<Void>.makeStream()
            nodes[0].onExec { _, exec in
                try await exec.started()
                for await _ in killed { break }
                try await exec.finish(code: nil, signal: "SIGTERM")
            }
            nodes[0].reply(.execKill) { (_: ExecKill) in
                kill.yield()
                return ExecKillReceipt(everythingEnded: true, wasForced: false, result: nil)
            }
            let running = Task { try await world.run("shell.exec", Self.run, json(world)) }
            try await eventually("it has started") { nodes[0].methods.contains(.execStart) }
            let receipt = try await world.run("shell.kill", Self.cancel)
            let answer = try await running.value
            #expect(answer["signal"] == "SIGTERM" && answer["execId"] == receipt["execId"])
            // How it ended is what a retry hears.
            #expect(try await world.run("shell.exec", Self.run, json(world)) == answer)
            #expect(try starts(nodes[0]).count == 1)
        }
    }

    @Test func aKillNamesACommandOrAKey() async throws {
        try await World.with { world, _ in
            for input in [
                [:], ["idempotencyKey": "k", "execId": .string(ExecID().description)],
                ["idempotencyKey": "k", "signal": "SIGINT"],
            ] as [JSONValue] {
                await expectFailure(.unprocessable) { try await world.run("shell.kill", input) }
            }
        }
    }
}
