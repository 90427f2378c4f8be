import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat
import TestSupport
import Testing

@Suite(.endsInTime) struct AttachmentTests {
    private func started(_ world: World) async throws -> ExecID {
        let answer = try await world.run("shell.exec", ["project": "shop", "cmd": "make"])
        return try #require(answer["execId"]?.string.flatMap(ExecID.init))
    }

    @Test func anAttachmentCountsOffsetsAndPassesInputOn() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let exec = try await started(world)
            nodes[0].handle(.execAttach) { stream, opening in
                let attach = try NodeRequest<ExecAttach>(opening: opening).arguments
                func tell(_ event: ExecEvent) async throws {
                    try await stream.send(message: ByteBuffer(data: try JSON.encode(event)))
                }
                try await tell(
                    .started(
                        container: ContainerID(), stdoutOffset: attach.stdoutOffset, stderrOffset: 5, inputOffset: 8))
                guard case .data(0, let bytes)? = try await stream.next() else { return }
                try await stream.send(data: bytes, channel: 1)
                try await tell(.inputPassed(upTo: 12))
                try await tell(.gap(channel: 2, from: 5, to: 9))
                try await stream.send(data: ByteBuffer(string: "err"), channel: 2)
                while try await stream.next() != nil {}
            }
            var attachment = try await world.services.execs.attach(
                exec, from: .at(ExecOffsets(stdout: 4)), input: .at(8), context: world.context())
            #expect(attachment.offsets == ExecOffsets(stdout: 4, stderr: 5, input: 8))
            try await attachment.write(ByteBuffer(string: "echo"))
            var seen: [String] = []
            while seen.count < 4, let event = try await attachment.next() {
                switch event {
                case .data(let channel, let offset, let bytes):
                    seen.append("\(channel) \(offset) \(String(buffer: bytes))")
                case .gap(let channel, let from, let to): seen.append("gap \(channel) \(from) \(to)")
                case .inputPassed(let offset): seen.append("passed \(offset)")
                case .finished: seen.append("finished")
                }
            }
            #expect(seen == ["1 4 echo", "passed 12", "gap 2 5 9", "2 9 err"])
            attachment.close()
            let wanted = try #require(try nodes[0].requests(.execAttach, ExecAttach.self).first)
            #expect(wanted.follow && wanted.channel == nil && wanted.input == .at(8) && wanted.stdoutOffset == 4)
        }
    }

    @Test func oneStreamIsAskedForAtTheNode() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let exec = try await started(world)
            nodes[0].handle(.execAttach) { stream, _ in
                let started = ExecEvent.started(
                    container: ContainerID(), stdoutOffset: 0, stderrOffset: 0, inputOffset: 0)
                try await stream.send(message: ByteBuffer(data: try JSON.encode(started)))
                while try await stream.next() != nil {}
            }
            let attachment = try await world.services.execs.attach(
                exec, from: .at(ExecOffsets()), input: nil, only: .stderr, context: world.context())
            attachment.close()
            #expect(try nodes[0].requests(.execAttach, ExecAttach.self).first?.channel == 2)
        }
    }

    @Test func whatGivesWayIsForTheCommandToChoose() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].onExec { _, exec in
                try await exec.started()
                while try await exec.stream.next() != nil {}
            }
            func start(_ overflow: JSONValue) async throws {
                try await world.run(
                    "shell.exec", ["project": "shop", "cmd": "make", "detach": true, "overflow": overflow])
            }
            try await world.run("shell.exec", ["project": "shop", "cmd": "make", "detach": true])
            try await start("slow")
            try await start("drop")
            await expectFailure(.unprocessable, .invalid) { try await start("wait") }
            await expectFailure(.unprocessable) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "make", "overflow": "drop"])
            }
            let commands = try nodes[0].requests(.execStart, ExecStart.self).map(\.command.overflow)
            #expect(commands == [.slow, .slow, .drop])
        }
    }

    @Test func aTokenFollowsSoManyCommandsAndNoMore() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let exec = try await started(world)
            nodes[0].handle(.execAttach) { stream, _ in
                let started = ExecEvent.started(
                    container: ContainerID(), stdoutOffset: 0, stderrOffset: 0, inputOffset: 0)
                try await stream.send(message: ByteBuffer(data: try JSON.encode(started)))
                while try await stream.next() != nil {}
            }
            let execs = world.services.execs
            let context = world.context(world.principal())
            func attach(_ context: OperationContext) async throws -> ExecAttachment {
                try await execs.attach(exec, from: .at(ExecOffsets()), input: nil, context: context)
            }
            func read(follow: Bool) async throws -> ExecOutput {
                try await execs.output(
                    of: exec, stream: .stdout, from: .at(ExecOffsets()), follow: follow, context: context)
            }
            var held: [ExecAttachment] = []
            for _ in 1..<Limits.attachmentsPerToken { held.append(try await attach(context)) }
            var output: ExecOutput? = try await read(follow: true)
            for _ in 0..<3 {
                let error = await expectFailure(.limit) { _ = try await attach(context) }
                #expect(error?.details["limit"] == .integer(Int64(Limits.attachmentsPerToken)))
                await expectFailure(.limit) { _ = try await read(follow: true) }
            }
            // Who only looks is no follower, and another token has its own.
            _ = try await read(follow: false)
            try await attach(world.context()).close()
            withExtendedLifetime(output) {}
            output = nil
            held.append(try await attach(context))
            await expectFailure(.limit) { _ = try await attach(context) }
            // Closed twice, it gives back one place.
            held[0].close()
            held[0].close()
            held.append(try await attach(context))
            await expectFailure(.limit) { _ = try await attach(context) }
            held = []
            try await attach(context).close()
        }
    }

    @Test func anotherWorkspacesCommandCannotBeFollowed() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let exec = try await started(world)
            let execs = world.services.execs
            let stranger = world.context(world.principal(in: world.other))
            let reader = world.context(world.principal([.filesRead, .filesWrite, .projectsRead]))
            for (context, code) in [(stranger, FastableError.Code.notFound), (reader, .forbidden)] {
                await expectFailure(code) { _ = try await execs.status(of: exec, context: context) }
                await expectFailure(code) {
                    _ = try await execs.output(
                        of: exec, stream: .stdout, from: .at(ExecOffsets()), follow: true, context: context)
                }
                for input in [nil, ExecInputStart.appending, .at(0)] {
                    await expectFailure(code) {
                        _ = try await execs.attach(exec, from: .at(ExecOffsets()), input: input, context: context)
                    }
                }
            }
            #expect(try nodes[0].requests(.execAttach, ExecAttach.self).isEmpty)
        }
    }
}
