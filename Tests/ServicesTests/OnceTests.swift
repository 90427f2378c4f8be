import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import Synchronization
import TestSupport
import Testing

/// A change with an idempotency key is done once, whatever happens to callers, links and the controller.
@Suite(.endsInTime) struct OnceTests {
    private static let run: JSONValue = ["project": "shop", "cmd": "make"]

    private func context(_ world: World, _ key: String = "k-1") -> OperationContext {
        var context = world.context()
        context.idempotencyKey = key
        return context
    }

    /// The same database and nodes, and nothing of what the first controller had in memory.
    private func restarted(_ world: World) throws -> ControllerServices {
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

    /// A node that knows one command, and tells its end again.
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

    private func knowNothing(_ node: SimulatedNode) {
        node.handle(.execAttach) { _, _ in throw FastableError(.notFound, "There is no such command.") }
    }

    // MARK: answers

    @Test func aRetryGetsTheStoredAnswer() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("built")
                try await exec.finish(code: 3)
            }
            let first = try await world.run("shell.exec", Self.run, context(world))
            // Spaces and the order of fields are no other input; nor is it another after a restart.
            let second = try await world.run("shell.exec", ["cmd": "make", "project": "shop"], context(world))
            let third = try await run(restarted(world), "shell.exec", Self.run, context(world))
            #expect(first == second && first == third)
            #expect(first["stdout"] == "built" && first["exitCode"] == 3)
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 1)
            let events = try await world.audit("shell.exec")
            #expect(events.filter { $0.phase == .intent }.count == 1)
            #expect(events.filter { $0.phase == .outcome }.count >= 2)
            #expect(events.contains { $0.detail["replayed"] == true })
            // Another key is another run, and so is none.
            _ = try await world.run("shell.exec", Self.run, context(world, "k-2"))
            try await world.run("shell.exec", Self.run)
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 3)
        }
    }

    @Test func aKeyStandsForOneChange() async throws {
        try await World.with { world, _ in
            try await world.project()
            _ = try await world.run("shell.exec", Self.run, context(world))
            let others: [(String, JSONValue)] = [
                ("shell.exec", ["project": "shop", "cmd": "other"]),
                ("projects_create", ["name": "next"]),
            ]
            for (name, input) in others {
                let error = await expectFailure(.conflict) { try await world.run(name, input, context(world)) }
                #expect(error?.details["field"] == "Idempotency-Key")
                await expectFailure(.conflict) { _ = try await run(restarted(world), name, input, context(world)) }
            }
            // Another workspace has keys of its own.
            var elsewhere = world.context(world.principal(in: world.other))
            elsewhere.idempotencyKey = "k-1"
            _ = try await world.run("projects_create", ["name": "theirs"], elsewhere)
            // What only reads needs none.
            try await world.run("projects_list", [:], context(world))
        }
    }

    @Test func failuresAreAnswersToo() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let codes = Mutex<[FastableError.Code]>([])
            nodes[0].reply(.fsEdit) { (_: FileCall<FileEdit>) -> FileEditResult in
                if let code = codes.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
                    throw FastableError(code, "No.", details: ["x": 1])
                }
                return FileEditResult(path: "a", sha256: "ab", replacements: 1, firstLine: 1, snippet: "x")
            }
            let edit: JSONValue = [
                "project": "shop", "path": "a", "edits": [["oldString": "a", "newString": "b"]],
            ]
            func calls() -> Int { nodes[0].methods.filter { $0 == .fsEdit }.count }
            codes.withLock { $0 = [.stale] }
            for _ in 0..<2 {
                let error = await expectFailure(.stale) { try await world.run("fs.edit", edit, context(world)) }
                #expect(error?.details["x"] == 1)
            }
            #expect(calls() == 1)
            // Nothing was done: it may be tried again.
            codes.withLock { $0 = [.limit] }
            await expectFailure(.limit) { try await world.run("fs.edit", edit, context(world, "k-2")) }
            _ = try await world.run("fs.edit", edit, context(world, "k-2"))
            #expect(calls() == 3)
            // Nobody knows: an edit is not repeated blindly …
            codes.withLock { $0 = [.unavailable] }
            await expectFailure(.unavailable) { try await world.run("fs.edit", edit, context(world, "k-3")) }
            await expectFailure(.conflict) { try await world.run("fs.edit", edit, context(world, "k-3")) }
            #expect(calls() == 4)
            // … what has the same effect twice is.
            let writes = Mutex(0)
            nodes[0].reply(.fsWrite) { (_: FileCall<FileWrite>) -> FileWriteResult in
                let number = writes.withLock { count in
                    count += 1
                    return count
                }
                if number == 1 { throw FastableError(.unavailable, "Gone.") }
                return FileWriteResult(path: "a", sha256: "ab", sizeBytes: 1, created: true)
            }
            let write: JSONValue = ["project": "shop", "path": "a", "content": "x"]
            await expectFailure(.unavailable) { try await world.run("fs.write", write, context(world, "k-4")) }
            _ = try await world.run("fs.write", write, context(world, "k-4"))
        }
    }

    @Test func aNodeThatIsAwayCostsNoKey() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("shell.exec", Self.run)
            let client = try world.directory.client(for: nodes[0].id)
            world.directory.drop(nodes[0].id)
            let edit: JSONValue = [
                "project": "shop", "path": "a", "edits": [["oldString": "a", "newString": "b"]],
            ]
            await expectFailure(.unavailable) { try await world.run("fs.edit", edit, context(world)) }
            world.directory.connect(try #require(client as? TestNodeClient), facts: World.facts())
            nodes[0].reply(.fsEdit) { (_: FileCall<FileEdit>) in
                FileEditResult(path: "a", sha256: "ab", replacements: 1, firstLine: 1, snippet: "x")
            }
            _ = try await world.run("fs.edit", edit, context(world))
        }
    }

    @Test func secretsAreNotKept() async throws {
        try await World.with(nodes: 0) { world, _ in
            let made = try await world.run("tokens_create", ["name": "agent"], context(world))
            let join = try await world.run("nodes_join_token", [:], context(world, "k-2"))
            await expectFailure(.gone) { try await world.run("tokens_create", ["name": "agent"], context(world)) }
            await expectFailure(.gone) { try await world.run("nodes_join_token", [:], context(world, "k-2")) }
            #expect(try await world.store.tokens(in: world.workspace).count == 1)
            for secret in [made["token"], join["token"]] {
                let text = try #require(secret?.string)
                for file in try FileManager.default.contentsOfDirectory(atPath: world.folder) {
                    let bytes = try #require(FileManager.default.contents(atPath: world.folder + "/" + file))
                    #expect(bytes.firstRange(of: Data(text.utf8)) == nil, "\(file)")
                }
            }
        }
    }

    @Test func aKeyMayBeRememberedForLess() async throws {
        try await World.with { world, _ in
            try await world.project()
            var short = context(world)
            short.idempotencySeconds = 60
            _ = try await world.run("shell.exec", Self.run, short)
            _ = try await world.run("shell.exec", Self.run, context(world, "k-2"))
            func look(_ key: String, after seconds: TimeInterval) async throws -> OnceBeginning {
                let cancelled = OnceRecord(
                    key: OnceKey(workspace: world.workspace, text: key), digest: [], exec: ExecID(),
                    expiresAt: Date() + 2 * seconds, answer: .dropped)
                return try await world.store.cancelOnce(cancelled, at: Date() + seconds)
            }
            #expect(try await look("k-1", after: 30) != .fresh)
            #expect(try await look("k-1", after: 61) == .fresh)
            #expect(try await look("k-2", after: 3600) != .fresh)
        }
    }

    // MARK: while it runs

    @Test func callersThatComeTogetherShareOneRun() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (held, release) = AsyncStream<Void>.makeStream()
            nodes[0].onExec { _, exec in
                try await exec.started()
                for await _ in held { break }
                try await exec.finish()
            }
            let ids = try await withThrowingTaskGroup(of: String?.self) { group in
                for _ in 0..<8 {
                    group.addTask { try await world.run("shell.exec", Self.run, context(world))["execId"]?.string }
                }
                try await eventually("it has started") { nodes[0].methods.contains(.execStart) }
                await expectFailure(.conflict) {
                    try await world.run("shell.exec", ["project": "shop", "cmd": "x"], context(world))
                }
                release.yield()
                return try await group.reduce(into: Set<String?>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 1)
        }
    }

    @Test func itGoesOnWhenItsCallerGoesAway() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (held, release) = AsyncStream<Void>.makeStream()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("heard by nobody")
                for await _ in held { break }
                try await exec.finish(code: 5)
            }
            var deaf = context(world)
            deaf.events = { _ in throw FastableError(.cancelled, "The reader is gone.") }
            let settled = deaf
            let caller = Task { try await world.run("shell.exec", Self.run, settled) }
            try await eventually("it has started") { nodes[0].methods.contains(.execStart) }
            caller.cancel()
            async let second = world.run("shell.exec", Self.run, context(world))
            release.yield()
            let answer = try await second
            #expect(answer["exitCode"] == 5 && answer["stdout"] == "heard by nobody")
            #expect(!nodes[0].methods.contains(.execKill))
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 1)
            _ = await caller.result
        }
    }

    // MARK: after a restart

    @Test func aCommandThatRanOverARestartIsFollowed() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                exec.stream.reset(FastableError(.unavailable, "The link is lost."))
            }
            let lost = await expectFailure(.unavailable) {
                try await world.run("shell.exec", Self.run, context(world))
            }
            know("all of it", code: 7, on: nodes[0])
            let services = try restarted(world)
            for _ in 0..<2 {
                let answer = try await run(services, "shell.exec", Self.run, context(world))
                #expect(answer["execId"] == lost?.details["execId"])
                #expect(answer["stdout"] == "all of it" && answer["exitCode"] == 7)
            }
            #expect(nodes[0].methods.filter { $0 == .execStart }.count == 1)
            #expect(nodes[0].methods.filter { $0 == .execAttach }.count == 1, "the answer is stored now")
        }
    }

    /// Just then everybody comes back, and a link takes no further call. That the retry did nothing does not mean that nothing was done.
    @Test func aRetryThatFindsNoRoomDoesNotForgetTheFirst() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                exec.stream.reset(FastableError(.unavailable, "The link is lost."))
            }
            let lost = await expectFailure(.unavailable) {
                try await world.run("shell.exec", Self.run, context(world))
            }
            for method in [NodeMethod.execAttach, .execQuery] {
                nodes[0].handle(method) { _, _ in
                    throw FastableError(.limit, "Too many requests are open on this link.")
                }
            }
            let services = try restarted(world)
            await expectFailure(.limit) { _ = try await run(services, "shell.exec", Self.run, context(world)) }
            know("all of it", code: 7, on: nodes[0])
            let answer = try await run(services, "shell.exec", Self.run, context(world))
            #expect(answer["execId"] == lost?.details["execId"] && answer["stdout"] == "all of it")
            #expect(nodes[0].methods.filter { $0 == .execStart }.count == 1)
        }
    }

    @Test func aCommandThatNeverStartedIsStartedUnderItsID() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in exec.stream.reset(FastableError(.unavailable, "The link is lost.")) }
            let lost = await expectFailure(.unavailable) {
                try await world.run("shell.exec", Self.run, context(world))
            }
            knowNothing(nodes[0])
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish(code: 0)
            }
            let answer = try await run(restarted(world), "shell.exec", Self.run, context(world))
            #expect(answer["execId"] == lost?.details["execId"])
            let starts = try nodes[0].requests(.execStart, ExecStart.self)
            #expect(starts.count == 2 && Set(starts.map(\.exec)).count == 1)
        }
    }

    /// Whoever asks again when the time is over learns that it never starts, and so it is.
    @Test func whatDidNotStartInTimeNeverStartsAlsoAfterARestart() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in exec.stream.reset(FastableError(.unavailable, "The link is lost.")) }
            knowNothing(nodes[0])
            nodes[0].reply(.execKill) { (_: ExecKill) -> ExecKillReceipt in throw FastableError(.notFound, "No.") }
            nodes[0].reply(.execQuery) { (_: ExecQuery) -> [ExecStatus] in [] }
            let startBy = Date(timeIntervalSince1970: (Date().timeIntervalSince1970 + 10).rounded(.down))
            let input: JSONValue = ["project": "shop", "cmd": "make", "startBy": .string(startBy.formatted(.iso8601))]
            let lost = await expectFailure(.unavailable) { try await world.run("shell.exec", input, context(world)) }
            let first = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect((1...10_000).contains(try #require(first.startWithinMilliseconds)))
            #expect(lost?.details["execId"] == .string(first.exec.description))
            try await eventually("the time is over") { Date() > startBy }
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish(code: 0)
            }
            let services = try restarted(world)
            for _ in 0..<2 {
                await expectFailure(.timeout) { _ = try await run(services, "shell.exec", input, context(world)) }
            }
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 1)
            // The start that was under way, or lies somewhere, is kept from coming true as well.
            #expect(try nodes[0].requests(.execKill, ExecKill.self).map(\.exec) == [first.exec, first.exec])
            // Nobody needs to wait for a node to learn that it is too late from the beginning.
            await expectFailure(.timeout) { try await world.run("shell.exec", input) }
            #expect(try nodes[0].requests(.execStart, ExecStart.self).count == 1)
            // One that had started after all is not denied.
            nodes[0].reply(.execQuery) { (query: ExecQuery) -> [ExecStatus] in
                query.execs.map { ExecStatus(exec: $0, running: false, result: nil) }
            }
            await expectFailure(.unavailable) { _ = try await run(services, "shell.exec", input, context(world)) }
            // A node that does not answer leaves it open.
            nodes[0].reply(.execKill) { (_: ExecKill) -> ExecKillReceipt in throw FastableError(.internal, "No.") }
            await expectFailure(.unavailable) { _ = try await run(services, "shell.exec", input, context(world)) }
        }
    }

    @Test func aLargeAnswerIsReadAgainFromTheNode() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let text = String(repeating: "0123456789", count: Limits.onceAnswerBytes / 10)
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write(text)
                try await exec.finish(code: 0)
            }
            let first = try await world.run("shell.exec", Self.run, context(world))
            know(text, code: 0, on: nodes[0])
            let second = try await world.run("shell.exec", Self.run, context(world))
            #expect(second["stdout"] == .string(text) && second["execId"] == first["execId"])
            // What the node has forgotten is never run again.
            knowNothing(nodes[0])
            let gone = await expectFailure(.gone) { try await world.run("shell.exec", Self.run, context(world)) }
            #expect(gone?.details["execId"] == first["execId"])
            #expect(nodes[0].methods.filter { $0 == .execStart }.count == 1)
        }
    }
}
