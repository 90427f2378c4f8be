import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct ExecTests {
    /// Events in the order they were told.
    private final class Events: Sendable {
        private let kept = Mutex<[OperationEvent]>([])
        func add(_ event: OperationEvent) { kept.withLock { $0.append(event) } }
        var all: [OperationEvent] { kept.withLock { $0 } }

        func bytes(_ channel: UInt8) -> [UInt8] {
            all.flatMap { event -> [UInt8] in
                if case .output(channel, let bytes) = event { Array(bytes.readableBytesView) } else { [] }
            }
        }
    }

    private static let exec: JSONValue = ["project": "shop", "cmd": "make test"]

    @Test func aCommandRunsAndItsAnswerIsWhole() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("out")
                try await exec.write("err", channel: 2)
                try await exec.finish(code: 3)
            }
            let answer = try await world.run(
                "shell.exec", ["project": "shop", "cmd": "make test", "cwd": "api", "timeoutSec": 7, "env": ["A": "b"]])
            #expect(answer["stdout"] == "out")
            #expect(answer["stderr"] == "err")
            #expect(answer["exitCode"] == 3)
            #expect(answer["signal"] == .null)
            #expect(answer["truncated"] == false)
            #expect(answer["timedOut"] == false)
            #expect(answer["durationMs"] == .number(1.5))
            #expect(answer["stdoutBytes"] == 3)
            let start = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect(answer["execId"] == .string(start.exec.description))
            #expect(start.container.project == project)
            #expect(start.command.arguments == ["/bin/bash", "-c", "make test"])
            #expect(start.command.workingDirectory == "/workspace/api")
            #expect(start.command.timeoutMilliseconds == 7000)
            #expect(start.command.environment == ["A": "b"])
            // The exec can be asked for later.
            #expect(try await world.store.exec(start.exec, in: world.workspace).project == project)
        }
    }

    @Test func aListIsAProgramAndASignalHasNoExitCode() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish(code: nil, signal: "SIGKILL", timedOut: true)
            }
            let answer = try await world.run("shell.exec", ["project": "shop", "cmd": ["echo", "a b"], "cwd": "/tmp"])
            #expect(answer["exitCode"] == .null)
            #expect(answer["signal"] == "SIGKILL")
            #expect(answer["timedOut"] == true)
            let start = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect(start.command.arguments == ["echo", "a b"])
            #expect(start.command.workingDirectory == "/tmp")
            #expect(start.command.timeoutMilliseconds == Limits.execTimeoutDefaultSeconds * 1000)
        }
    }

    @Test func eventsComeInOrderAndComplete() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let count = 3_000_000
            nodes[0].onExec { _, exec in
                try await exec.started()
                var sent = 0
                while sent < count {
                    let piece = (sent..<min(sent + 70_000, count)).map {
                        UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8)
                    }
                    try await exec.write(ByteBuffer(bytes: piece))
                    try await exec.write("e", channel: 2)
                    sent += piece.count
                }
                try await exec.finish()
            }
            let events = Events()
            var context = world.context(events: { events.add($0) })
            context.collectsOutput = false
            let answer = try await world.run("shell.exec", Self.exec, context)
            guard case .execStarted(let exec)? = events.all.first else {
                Issue.record("the first event must be the start")
                return
            }
            #expect(answer["execId"] == .string(exec.description))
            let bytes = events.bytes(1)
            #expect(bytes.count == count)
            #expect(bytes == (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
            #expect(answer["stdoutBytes"] == .integer(Int64(count)))
            // Not collected, but counted.
            #expect(answer["stdout"] == "")
            #expect(answer["truncated"] == false)
        }
    }

    @Test func aSlowReaderSlowsTheCommand() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let written = Mutex(0)
            nodes[0].onExec { _, exec in
                try await exec.started()
                for _ in 0..<64 {
                    try await exec.write(ByteBuffer(repeating: 65, count: 128 * 1024))
                    written.withLock { $0 += 128 * 1024 }
                }
                try await exec.finish()
            }
            let (gate, open) = AsyncStream.makeStream(of: Void.self)
            let isFirst = Mutex(true)
            let context = world.context(events: { event in
                guard case .output = event,
                    isFirst.withLock({ first in
                        defer { first = false }; return first
                    })
                else { return }
                for await _ in gate { break }
            })
            async let answer = world.run("shell.exec", Self.exec, context)
            try await eventually("the command is stopped by its reader") {
                let before = written.withLock { $0 }
                try await Task.sleep(for: .milliseconds(100))
                return before > 0 && written.withLock { $0 } == before
            }
            // One window, one link buffer and what is on its way: far less than the 8 MiB that the command wants to write.
            #expect(written.withLock { $0 } < 4 * 1024 * 1024)
            open.yield()
            #expect(try await answer["stdoutBytes"] == .integer(8 * 1024 * 1024))
        }
    }

    @Test(arguments: ExecStreamName.allCases) func longOutputIsCutInTheMiddle(stream: ExecStreamName) async throws {
        let (name, channel) = (stream.rawValue, UInt8(stream == .stdout ? 1 : 2))
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("first line\n", channel: channel)
                try await exec.write(ByteBuffer(repeating: 65, count: 1_000_000), channel: channel)
                try await exec.write("\nlast line\n", channel: channel)
                try await exec.finish()
            }
            let answer = try await world.run("shell.exec", Self.exec)
            let text = try #require(answer[name]?.string)
            #expect(answer["truncated"] == true)
            #expect(text.hasPrefix("first line\nAAAA"))
            #expect(text.hasSuffix("AAAA\nlast line\n"))
            #expect(text.contains("of 1000022 bytes left out here"))
            #expect(text.utf8.count < Limits.toolOutputBytes + 200)
            #expect(answer[name + "Bytes"] == 1_000_022)
            let half = Int64(Limits.toolOutputBytes / 2)
            let cut: JSONValue = [
                "stream": .string(name), "offset": .integer(half), "nextOffset": .integer(1_000_022 - half),
            ]
            #expect(answer["omitted"] == [cut])
        }
    }

    // MARK: the end before the end

    @Test func cancellingKillsTheCommandBeforeTheCallReturns() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let started = Mutex(false)
            nodes[0].onExec { _, exec in
                try await exec.started()
                started.withLock { $0 = true }
                while try await exec.stream.next() != nil {}
            }
            let running = Task { try await world.run("shell.exec", Self.exec) }
            try await eventually("the command runs") { started.withLock { $0 } }
            running.cancel()
            await expectFailure(.cancelled) { _ = try await running.value }
            let kill = try #require(try nodes[0].requests(.execKill, ExecKill.self).first)
            let start = try #require(try nodes[0].requests(.execStart, ExecStart.self).first)
            #expect(kill.exec == start.exec)
            #expect(kill.signal == 15 && kill.graceMilliseconds == Limits.execCancelGraceSeconds * 1000)
            #expect(world.services.metrics.value(.execsRunning) == 0)
            let outcome = try await world.audit("shell.exec").last
            #expect(outcome?.phase == .outcome)
            #expect(outcome?.code == .cancelled)
            #expect(outcome?.detail["execId"] == .string(kill.exec.description))
            #expect(outcome?.detail["everythingEnded"] == true && outcome?.detail["wasForced"] == false)
        }
    }

    @Test func aListenerThatIsGoneKillsTheCommand() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("x")
                while try await exec.stream.next() != nil {}
            }
            let context = world.context(events: { event in
                if case .output = event { throw FastableError(.cancelled, "The client closed the connection.") }
            })
            let error = await expectFailure(.cancelled) { try await world.run("shell.exec", Self.exec, context) }
            #expect(error?.message == "The client closed the connection.")
            #expect(try nodes[0].requests(.execKill, ExecKill.self).count == 1)
        }
    }

    @Test func aLostLinkTellsTheExecSoThatItsResultCanBeFetched() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let node = nodes[0]
            node.onExec { _, exec in
                try await exec.started()
                try await exec.write("half")
                while try await exec.stream.next() != nil {}
            }
            let events = Events()
            let context = world.context(events: { event in
                events.add(event)
                // The network is cut once the bytes have come.
                if case .output = event { node.severLink() }
            })
            let error = await expectFailure(.unavailable) { try await world.run("shell.exec", Self.exec, context) }
            guard case .execStarted(let exec)? = events.all.first else {
                Issue.record("the command must have started")
                return
            }
            #expect(error?.details["execId"] == .string(exec.description))
            #expect(error?.message.contains(exec.description) == true)
            #expect(events.bytes(1) == Array("half".utf8))
            #expect(try node.requests(.execKill, ExecKill.self).isEmpty)
        }
    }

    @Test func theNodesOwnErrorIsTheAnswer() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, _ in throw FastableError(.unprocessable, "The image ‘x’ is damaged.") }
            let error = await expectFailure(.unprocessable) { try await world.run("shell.exec", Self.exec) }
            #expect(error?.message == "The image ‘x’ is damaged.")
            #expect(try nodes[0].requests(.execKill, ExecKill.self).isEmpty)
        }
    }

    @Test func aNodeThatEndsTheStreamWithoutResultIsAnError() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.stream.finish()
            }
            await expectFailure(.internal) { try await world.run("shell.exec", Self.exec) }
            nodes[0].onExec { _, exec in
                try await exec.stream.send(message: ByteBuffer(string: "{\"nonsense\":1}"))
                while try await exec.stream.next() != nil {}
            }
            await expectFailure(.internal) { try await world.run("shell.exec", Self.exec) }
            #expect(try nodes[0].requests(.execKill, ExecKill.self).count == 2)
        }
    }

    @Test func anOfflineNodeIsToldAtOnce() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("shell.exec", Self.exec)
            world.directory.drop(nodes[0].id)
            let began = ContinuousClock.now
            let error = await expectFailure(.unavailable) { try await world.run("shell.exec", Self.exec) }
            #expect(error?.retryAfterSeconds != nil)
            #expect(ContinuousClock.now - began < .seconds(Limits.nodeAnswerSeconds), "nobody waited for the node")
            await expectFailure(.unavailable) {
                try await world.run("fs.read", ["project": "shop", "path": "a"])
            }
        }
    }

    // MARK: later

    @Test func statusAndOutputCanBeFetchedLater() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("0123456789")
                try await exec.finish()
            }
            let answer = try await world.run("shell.exec", Self.exec)
            let exec = try #require(answer["execId"]?.string.flatMap(ExecID.init))
            nodes[0].reply(.execStatus) { (reference: ExecReference) in
                ExecStatus(exec: reference.exec, running: true, result: nil)
            }
            let report = try await world.services.execs.status(of: exec, context: world.context())
            #expect(report.running)
            nodes[0].handle(.execAttach) { stream, opening in
                let attach = try NodeRequest<ExecAttach>(opening: opening).arguments
                let start = ExecStart(
                    exec: attach.exec,
                    container: ContainerSpec(project: attach.project, workspace: WorkspaceID(), image: "x"),
                    command: ExecCommand(arguments: []))
                let exec = SimulatedExec(start: start, stream: stream)
                try await exec.send(
                    .started(
                        container: ContainerID(), stdoutOffset: attach.stdoutOffset, stderrOffset: 0, inputOffset: 0))
                try await exec.write("unwanted", channel: 2)
                try await exec.write("45")
                try await exec.send(.gap(channel: 1, from: 6, to: 8))
                try await exec.write("89")
                try await exec.finish()
            }
            let output = try await world.services.execs.output(
                of: exec, stream: .stdout, from: .at(ExecOffsets(stdout: 4)), follow: true, context: world.context())
            #expect(output.firstOffset == 4)
            var seen: [String] = []
            for try await element in output {
                switch element {
                case .data(let offset, let bytes): seen.append("\(offset):\(String(buffer: bytes))")
                case .gap(let from, let to): seen.append("gap \(from)-\(to)")
                case .finished(let result): seen.append("finished \(result.exec == exec)")
                }
            }
            #expect(seen == ["4:45", "gap 6-8", "8:89", "finished true"])
            let attach = try #require(try nodes[0].requests(.execAttach, ExecAttach.self).first)
            #expect(attach.follow && attach.channel == 1 && attach.stdoutOffset == 4)
            _ = try await world.services.execs.output(
                of: exec, stream: .stderr, from: .last(9), follow: false, context: world.context())
            let tail = try #require(try nodes[0].requests(.execAttach, ExecAttach.self).last)
            #expect(tail.last == 9 && tail.stderrOffset == 0 && tail.channel == 2)
            // Another workspace's command does not exist.
            let stranger = world.context(world.principal(in: world.other))
            await expectFailure(.notFound) { _ = try await world.services.execs.status(of: exec, context: stranger) }
        }
    }

    /// Where the end is, the node knows: more may have been printed since it was asked how much there is.
    @Test func aPageFromTheEndBeginsWhereTheNodeSays() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let answer = try await world.run("shell.exec", Self.exec)
            let exec = try #require(answer["execId"])
            nodes[0].reply(.execStatus) { (reference: ExecReference) in
                ExecStatus(exec: reference.exec, running: true, result: nil, stdoutBytes: 10)
            }
            nodes[0].handle(.execAttach) { stream, opening in
                let attach = try NodeRequest<ExecAttach>(opening: opening).arguments
                let start = ExecStart(
                    exec: attach.exec,
                    container: ContainerSpec(project: attach.project, workspace: WorkspaceID(), image: "x"),
                    command: ExecCommand(arguments: []))
                let exec = SimulatedExec(start: start, stream: stream)
                try await exec.send(
                    .started(
                        container: ContainerID(), stdoutOffset: attach.last == nil ? attach.stdoutOffset : 8,
                        stderrOffset: 0, inputOffset: 0))
                try await exec.write("89ab")
                try await stream.finish()
            }
            let page = try await world.run("shell.output", ["execId": exec, "offset": -4])
            #expect(page["offset"] == 8 && page["nextOffset"] == 12 && page["totalBytes"] == 12)
            #expect(page["content"] == "89ab" && page["missingBytes"] == 0 && page["running"] == true)
            let first = try await world.run("shell.output", ["execId": exec, "offset": 3, "limit": 2])
            #expect(first["offset"] == 3 && first["nextOffset"] == 5 && first["content"] == "89")
            let wanted = try nodes[0].requests(.execAttach, ExecAttach.self)
            #expect(wanted.map(\.last) == [4, nil] && wanted.map(\.stdoutOffset) == [0, 3])
            #expect(wanted.allSatisfy { !$0.follow && $0.channel == 1 })
        }
    }

    @Test func aSignalReachesTheCommand() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let answer = try await world.run("shell.exec", Self.exec)
            let exec = try #require(answer["execId"])
            try await world.run("shell.kill", ["execId": exec, "signal": "SIGINT"])
            try await world.run("shell.kill", ["execId": exec])
            #expect(try nodes[0].requests(.execKill, ExecKill.self).map(\.signal) == [2, 15])
            await expectFailure(.unprocessable) {
                try await world.run("shell.kill", ["execId": exec, "signal": "SIGSTOP"])
            }
            let stranger = world.context(world.principal(in: world.other))
            await expectFailure(.notFound) { try await world.run("shell.kill", ["execId": exec], stranger) }
            await expectFailure(.invalid) { try await world.run("shell.kill", ["execId": "exe_1"]) }
        }
    }

    @Test func missingOutputIsTold() async throws {
        try await World.with { world, nodes in
            _ = try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.write("01")
                try await exec.send(.gap(channel: 1, from: 2, to: 100))
                try await exec.write("x")
                try await exec.finish()
            }
            let events = Events()
            var context = world.context()
            context.events = { events.add($0) }
            let input = try JSON.encode(Self.exec)
            let answer = try JSON.decode(
                JSONValue.self, from: try await world.services.catalog.run("shell.exec", input: input, context: context)
            )
            #expect(answer["truncated"] == true && answer["missingBytes"] == 98)
            let gaps = events.all.compactMap { event -> String? in
                if case .missing(let channel, let from, let to) = event { "\(channel) \(from) \(to)" } else { nil }
            }
            #expect(gaps == ["1 2 100"])
        }
    }

    /// The controller may die the moment after: the node has all of it before it says that the command runs.
    @Test func inputComesWithTheStart() async throws {
        try await World.with { world, nodes in
            _ = try await world.project()
            let text = String(repeating: "x", count: 300_000)
            for detached in [false, true] {
                nodes[0].onExec { start, exec in
                    var count = 0
                    while count < start.inputBytes ?? 0, let event = try await exec.stream.next() {
                        if case .data(0, let bytes) = event { count += bytes.readableBytes }
                    }
                    #expect(count == text.utf8.count && start.command.takesInput)
                    try await exec.started()
                    try await exec.finish()
                }
                let answer = try await world.run(
                    "shell.exec", ["project": "shop", "cmd": "cat", "stdin": .string(text), "detach": .bool(detached)])
                #expect(answer["execId"] != nil)
            }
        }
    }
}
