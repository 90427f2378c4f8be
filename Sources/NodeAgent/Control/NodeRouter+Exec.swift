import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat
import NodeSandbox

/// Commands: start, follow, ask, kill.
extension NodeRouter {
    func startExec(_ call: NodeCall) async throws {
        let start: ExecStart = try call.arguments()
        let latest = start.startWithinMilliseconds.map { ContinuousClock.now + .milliseconds($0) }
        let given = try await input(of: start, call)
        let session = try await ended.whileStarting(start.exec) { try await begin(start, given, before: latest, call) }
        let takesInput = given == nil && (start.command.takesInput || start.command.terminal != nil)
        try await follow(
            session, of: start.container.project,
            session.events(follows: start.isFollowed, followsInput: takesInput), call, input: takesInput ? .at(0) : nil,
            skipsStarted: start.skipsStarted ?? false)
    }

    /// - Parameter latest: it may have to wait for its container; after this it never starts.
    private func begin(
        _ start: ExecStart, _ given: ByteBuffer?, before latest: ContinuousClock.Instant?, _ call: NodeCall
    ) async throws -> ExecSession {
        let tell: @Sendable (StartProgress) async throws -> Void = { try await call.send(ExecEvent.starting($0)) }
        var attempts = 1
        while true {
            let container = try await sandboxes.ensure(
                start.container, telling: start.wantsStart == true ? tell : nil)
            let (command, user) = try await container.prepared(start.command)
            do {
                return try await container.start(
                    exec: start.exec, command: command, user: user, input: given, ended: ended
                ) {
                    if let latest, ContinuousClock.now >= latest {
                        throw FastableError(.timeout, "The command did not start in time, and does not start any more.")
                    }
                    try sandboxes.checkStart(start.container)
                }
            } catch let error as FastableError where error.code == .gone && attempts < Limits.execStartAttempts {
                // The container ended between the two steps, and nothing has begun: there is another one as soon as that is known.
                try await Task.sleep(for: .milliseconds(Limits.execStartPauseMilliseconds * attempts))
                attempts += 1
            }
        }
    }

    /// All that the command is to read, when that comes with the start: nothing runs before it is here.
    private func input(of start: ExecStart, _ call: NodeCall) async throws -> ByteBuffer? {
        guard let count = start.inputBytes else { return nil }
        guard start.command.takesInput, (0...Limits.execInputTextBytes).contains(count) else {
            throw FastableError(.invalid, "The command cannot be given \(count) bytes of input at its start.")
        }
        var input = ByteBuffer()
        while input.readableBytes < count, let event = try await call.stream.next() {
            guard case .data(0, var bytes) = event else { continue }
            input.writeBuffer(&bytes)
        }
        guard input.readableBytes == count else {
            throw FastableError(.invalid, "Of \(count) bytes of input \(input.readableBytes) came.")
        }
        return input
    }

    func attachExec(_ call: NodeCall) async throws {
        let attach: ExecAttach = try call.arguments()
        let session = try await sandboxes.exec(attach.exec, of: attach.project)
        let reader = session.events(
            stdoutFrom: attach.stdoutOffset, stderrFrom: attach.stderrOffset, last: attach.last,
            untilNow: !attach.follow, only: attach.channel, follows: attach.follow && attach.comesAgain,
            name: attach.follower, followsInput: attach.input != nil)
        try await follow(session, of: attach.project, reader, call, input: attach.input)
    }

    func execStatus(_ call: NodeCall) async throws {
        try await call.answer { (reference: ExecReference) in
            try await sandboxes.exec(reference.exec, of: reference.project).status
        }
    }

    func killExec(_ call: NodeCall) async throws {
        try await call.answer { (kill: ExecKill) in
            let isMeantToEnd = kill.graceMilliseconds != nil || Self.endingSignals.contains(kill.signal)
            // Also one that this node has not heard of: its start may be under way.
            if isMeantToEnd { ended.insert(kill.exec) }
            let isStarting = ended.isStarting(kill.exec)
            do {
                return try await self.kill(kill)
            } catch let error as FastableError where error.code == .notFound && isMeantToEnd && isStarting {
                return ExecKillReceipt(everythingEnded: true, wasForced: false, result: nil)
            }
        }
    }

    /// The signals by which programs are told to end: one that has not started yet then has ended.
    private static let endingSignals: Set<Int32> = [1, 2, 3, 9, 15]

    private func kill(_ kill: ExecKill) async throws -> ExecKillReceipt {
        guard let container = try await sandboxes.awake(kill.project, toEnd: true) else {
            // Without a container nothing of it can run any more, which is what was asked for.
            let result = try await sandboxes.exec(kill.exec, of: kill.project).status.result
            return ExecKillReceipt(everythingEnded: true, wasForced: false, result: result)
        }
        if let grace = kill.graceMilliseconds ?? (kill.signal == 9 ? 0 : nil) {
            return try await container.execs.end(kill.exec, signal: kill.signal, grace: .milliseconds(grace))
        }
        try await container.execs.kill(kill.exec, signal: kill.signal)
        let result = try await container.execs.status(kill.exec).result
        return ExecKillReceipt(everythingEnded: false, wasForced: false, result: result)
    }

    func queryExecs(_ call: NodeCall) async throws {
        try await call.answer { (query: ExecQuery) in
            var statuses: [ExecStatus] = []
            for exec in query.execs.prefix(Limits.execsPerList) {
                do {
                    statuses.append(try await sandboxes.exec(exec, of: query.project).status)
                } catch let error as FastableError where error.code == .notFound || error.code == .gone {
                    continue
                }
            }
            return statuses
        }
    }

    /// Sends what the exec tells until its end, and gives it what comes. When the follower goes away, the command goes on, and
    /// its input stays open: ending it is a wish of its own (`exec.kill`), because a lost link must not end what runs.
    private func follow(
        _ session: ExecSession, of project: ProjectID, _ reader: ExecReader, _ call: NodeCall,
        input: ExecInputStart? = nil, skipsStarted: Bool = false
    ) async throws {
        guard let input else { return try await tell(reader, call, skipsStarted: skipsStarted) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await listen(call, to: session, of: project, from: input) }
            group.addTask {
                try await tell(reader, call, skipsStarted: skipsStarted)
                throw CancellationError()
            }
            defer { group.cancelAll() }
            // The input may end long before the output does.
            do {
                while try await group.next() != nil {}
            } catch is CancellationError {}
        }
    }

    /// Takes what a follower sends: input as data on channel 0, wishes as messages.
    private func listen(
        _ call: NodeCall, to session: ExecSession, of project: ProjectID, from start: ExecInputStart
    ) async throws {
        var offset: UInt64? = if case .at(let first) = start { first } else { nil }
        var end: UInt64?
        while let event = try await call.stream.next() {
            try await sandboxes.needsCommand(of: project)
            switch event {
            case .data(0, let bytes):
                try await session.write(bytes, at: offset)
                offset = offset.map { $0 + UInt64(bytes.readableBytes) }
            case .data: continue
            case .message(let payload):
                switch try JSON.decode(ExecControl.self, from: Data(buffer: payload)) {
                case .resize(let size): session.resize(size)
                case .signal(let number): session.signal(number)
                case .endInput(let announced): end = announced
                }
            case .end: return try session.finishInput(at: end ?? offset)
            }
        }
    }

    private func tell(_ reader: ExecReader, _ call: NodeCall, skipsStarted: Bool) async throws {
        defer { reader.close() }
        while let chunk = try await reader.next() {
            switch chunk {
            case .started where skipsStarted: continue
            case .started(let container, let stdoutOffset, let stderrOffset, let inputOffset):
                try await call.send(
                    ExecEvent.started(
                        container: container, stdoutOffset: stdoutOffset, stderrOffset: stderrOffset,
                        inputOffset: inputOffset))
            case .inputPassed(let offset): try await call.send(ExecEvent.inputPassed(upTo: offset))
            case .data(let channel, let bytes):
                try await call.stream.send(data: bytes, channel: channel)
            case .gap(let channel, let from, let to):
                try await call.send(ExecEvent.gap(channel: channel, from: from, to: to))
            case .finished(let result): try await call.send(ExecEvent.finished(result))
            }
        }
        try? await call.stream.finish()
    }
}
