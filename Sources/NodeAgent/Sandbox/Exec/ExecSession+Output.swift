import CLinux
import FastableCore
import FoundationEssentials
import Glibc
import Logging
import NIOCore
import NodeLinux
import Synchronization

/// What init says about an exec. All of it happens on the link's event loop.
extension ExecSession {
    /// Bytes of a stream: first to the readers that wait, then to the file, then init may forget them.
    func received(_ bytes: ByteBuffer, channel: UInt8, offset: UInt64) throws(FastableError) {
        let holdsTail = try state.withLock { state throws(FastableError) in
            try state[channel].receive(bytes, at: offset)
            return state[channel].holdsShortTail
        }
        pump(channel)
        if holdsTail { letGoLater(channel) }
    }

    func ended(channel: UInt8) {
        let (isOver, isMasked) = state.withLock { state in
            state[channel].end()
            return (state.outcome != nil, state[channel].isMasked)
        }
        if isMasked { pump(channel) }
        if isOver { recorder?.record(self) }
    }

    /// A short tail that could be the beginning of a secret is shown once it has been quiet for a moment.
    private func letGoLater(_ channel: UInt8) {
        let taken = state.withLock { $0[channel].taken }
        link?.eventLoop.scheduleTask(in: .milliseconds(Int64(Limits.secretTailMilliseconds))) { [weak self] in
            self?.letGo(channel, ifStillAt: taken)
        }
    }

    private func letGo(_ channel: UInt8, ifStillAt taken: UInt64) {
        let isQuiet = state.withLock { state in
            guard state[channel].taken == taken else { return false }
            state[channel].letGo()
            return true
        }
        if isQuiet { pump(channel) }
    }

    /// Lets readers have what there is room for, writes it, and acknowledges it.
    private func pump(_ channel: UInt8) {
        let admission = state.withLock { $0.admit(channel, now: .now) }
        let chunks = admission.chunks
        for waiter in admission.waiters { waiter.resume() }
        let file = channel == 1 ? stdout : stderr
        var failure: Errno?
        for chunk in chunks where failure == nil {
            do throws(Errno) { try file.write(chunk.bytes, at: chunk.offset) } catch { failure = error }
        }
        if let failure { refused(channel, failure) }
        let (stored, isComplete, goesOn) = state.withLock { state -> (UInt64?, Bool, Bool) in
            let wasStuck = state[channel].isStuck
            if failure == nil { state[channel].wrote(keepRecent: state.recentBytes) }
            return (
                state[channel].acknowledgement(step: Self.acknowledgedBytes), state.isComplete,
                wasStuck && failure == nil
            )
        }
        // What had to wait for the disk follows.
        if goesOn { schedulePump() }
        if let stored = stored ?? acknowledgeAnyway(channel) {
            link?.send(InitRequest.stored(number, channel: channel, upTo: stored))
        }
        if let note = admission.note { link?.send(InitRequest.note(number, note)) }
        if let moment = admission.tryAgainAt { schedulePump(at: moment) }
        // Bytes were held back until after the end.
        if isComplete, !chunks.isEmpty { recorder?.record(self) }
    }

    /// The disk did not take some output.
    private func refused(_ channel: UInt8, _ failure: Errno) {
        let wasStuck = state.withLock { $0[channel].isStuck }
        let next = state.withLock { $0.writingFailed(channel, now: .now) }
        if let start = next.fileStart { (channel == 1 ? stdout : stderr).restart(at: start) }
        if let moment = next.tryAgainAt { schedulePump(at: moment) }
        guard !wasStuck else { return }
        let end = next.fileStart == nil ? "it is slowed down until it can be" : "what was kept of it is lost"
        link?.logger.error("The output of \(exec) cannot be stored, \(end): \(failure)")
    }

    private static let acknowledgedBytes = Limits.initRingBytes / 4

    /// When secrets follow each other without a place between them, the place is noted where the next daemon may find one cut.
    private func acknowledgeAnyway(_ channel: UInt8) -> UInt64? {
        guard state.withLock({ $0[channel].mustCut(step: Self.acknowledgedBytes) }) else { return nil }
        do throws(Errno) { try secrets?.noteCut() } catch {
            link?.logger.error("The state of \(exec) cannot be stored: \(error)")
            return nil
        }
        return state.withLock { $0[channel].acknowledgement(step: Self.acknowledgedBytes, mayCut: true) }
    }

    /// A reader has moved: bytes that were held back for it may go on.
    func schedulePump() {
        link?.eventLoop.execute {
            self.pump(1)
            self.pump(2)
        }
    }

    /// Somebody who is waited for may not come.
    private func schedulePump(at moment: ExecFollowers.Instant) {
        let pause = max(.zero, moment - .now) + .milliseconds(1)
        link?.eventLoop.scheduleTask(in: TimeAmount(pause)) { [weak self] in
            self?.pump(1)
            self?.pump(2)
        }
    }

    /// A new connection: init sends again what it does not know to be stored.
    func reconnected(_ held: InitReport.Held) {
        state.withLock { state in
            state.stdout.reconnected(stored: held.stdoutStored)
            state.stderr.reconnected(stored: held.stderrStored)
        }
    }

    func exited(_ exit: InitReport.Exit) {
        let result = ExecResult(
            exec: exec, exitCode: exit.bySignal ? nil : exit.value,
            signal: exit.bySignal ? SignalName.of(exit.value) : nil, timedOut: exit.timedOut,
            startedAt: Date(timeIntervalSince1970: Double(exit.startedNanoseconds) / 1e9),
            durationMilliseconds: Double(exit.durationNanoseconds) / 1e6, stdoutBytes: exit.stdoutBytes,
            stderrBytes: exit.stderrBytes)
        guard exit.bySignal || exit.value != 0 else { return conclude(result) }
        findLimit { session, hit in
            var result = result
            result.limitHit = hit
            session.conclude(result)
        }
    }

    /// Finds the limit that its container has come to since it began. That blocks, so it is done elsewhere, and the loop goes on with the
    /// output of other commands; what follows from it is decided on the loop again. Until then `fail` changes nothing.
    private func findLimit(then conclude: @escaping @Sendable (ExecSession, LimitHit?) -> Void) {
        guard let recorder, let limits = activity?.limits,
            let inquiry = limits.inquiry(since: limitsBefore, of: container)
        else { return conclude(self, nil) }
        let (isOver, isUnderWay) = state.withLock { state in
            defer { state.isConcluding = state.outcome == nil }
            return (state.outcome != nil, state.isConcluding)
        }
        if isOver { return conclude(self, nil) }
        // Init tells it again over a new connection.
        if isUnderWay { return }
        recorder.findOut {
            limits.hit(inquiry)
        } then: {
            conclude(self, $0)
        }
    }

    private func conclude(_ result: ExecResult) {
        settle(isTold: true) { state in
            state.stdout.settle()
            state.stderr.settle()
            var result = result
            result.stdoutBytes = min(result.stdoutBytes, state.stdout.received)
            result.stderrBytes = min(result.stderrBytes, state.stderr.received)
            return .finished(result)
        }
    }

    /// It did not start, or nobody will ever know how it ended. What has a result, or is about to, keeps it.
    func fail(_ error: FastableError) { fail(error, isTold: false) }

    private func fail(_ error: FastableError, isTold: Bool) {
        settle(isTold: isTold) { state in
            state.stdout.end()
            state.stderr.end()
            return .failed(error)
        }
    }

    /// - Parameter isTold: init has told how it ended.
    private func settle(isTold: Bool, _ outcome: (inout ExecState) -> ExecState.Outcome) {
        let settled = state.withLock { state -> (waiters: [CheckedContinuation<Void, Never>], isMasked: Bool)? in
            guard isTold || !state.isConcluding else { return nil }
            state.isConcluding = false
            let new = outcome(&state)
            if state.outcome == nil { state.outcome = new }
            state.input.close()
            return (state.takeWaiters() + state.takeWriters(), state.stdout.isMasked || state.stderr.isMasked)
        }
        guard let (waiters, isMasked) = settled else { return }
        for waiter in waiters { waiter.resume() }
        activity?.ended(exec)
        // What was held back for its secrets.
        if isMasked { schedulePump() }
        recorder?.record(self)
    }

    /// The daemon stops, or has ended the connection for good: the exec goes on without readers.
    func interrupt() {
        let waiters = state.withLock { state in
            state.isInterrupted = true
            return state.takeWaiters() + state.takeWriters()
        }
        for waiter in waiters { waiter.resume() }
    }
}

// MARK: programs that did not start

extension ExecSession {
    /// A program that cannot be run ends the way a shell tells it: with a line on stderr and status 127 or 126. What lies
    /// with the container or the node is an error.
    func failed(stage: UInt8, errno number: Int32) {
        guard status.running else { return }
        let problem = Errno(number)
        switch stage {
        case FASTABLE_STAGE_EXECUTE:
            let missing = number == ENOENT || number == ENOTDIR
            let program = command?.arguments.first.map { " ‘\($0)’" } ?? " the command"
            conclude(status: missing ? 127 : 126, "cannot run\(program)", problem)
        case FASTABLE_STAGE_DIRECTORY:
            let directory = command.map { " ‘\($0.workingDirectory)’" } ?? " of the command"
            conclude(status: 126, "cannot use the directory\(directory)", problem)
        default:
            findLimit { session, hit in session.fail(Self.error(stage: stage, problem, hit), isTold: true) }
        }
    }

    private func conclude(status: Int32, _ what: String, _ problem: Errno) {
        let line = ByteBuffer(string: "fastable: \(what): \(Self.text(problem))\n")
        let start = state.withLock { $0.stderr.received }
        // The stream is empty here, so this cannot skip anything.
        try? received(line, channel: 2, offset: start)
        ended(channel: 1)
        ended(channel: 2)
        conclude(
            ExecResult(
                exec: exec, exitCode: status, signal: nil, timedOut: false, startedAt: Date(), durationMilliseconds: 0,
                stdoutBytes: 0, stderrBytes: UInt64(line.readableBytes)))
    }

    private static func error(stage: UInt8, _ problem: Errno, _ hit: LimitHit?) -> FastableError {
        let context = "stage \(stage): \(problem)"
        switch problem.number {
        case EAGAIN, ENOMEM, EMFILE, ENFILE:
            var details: [String: JSONValue] = [:]
            details["limit"] = hit.map { .string($0.limit.rawValue) }
            return FastableError(
                .limit,
                "The container has no room for another process. End some, or raise its limits with devcontainer.limits.",
                context: context, details: details)
        default:
            return FastableError(
                .internal, "The command could not be started. The log of the node has the cause.", context: context)
        }
    }

    /// `No such file or directory`.
    private static func text(_ problem: Errno) -> String {
        var text = [CChar](repeating: 0, count: 128)
        guard strerror_r(problem.number, &text, text.count) == 0 else { return "error \(problem.number)" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func refused(reason: UInt8) {
        switch reason {
        case FASTABLE_REFUSED_LIMIT: fail(Self.tooMany)
        default:
            fail(
                FastableError(
                    .internal, "The container's init refused the command. The log of the node has the cause.",
                    context: "reason \(reason)"))
        }
    }

    static let tooMany = FastableError(
        .limit,
        "\(Limits.execsPerContainer) commands run in this container. Wait until one has ended, or end one.",
        details: ["limit": .integer(Int64(Limits.execsPerContainer))])

    /// What to keep on disk; `nil` while it runs.
    var record: ExecRecord? {
        state.withLock { state in
            var record = ExecRecord(
                exec: exec, container: container, number: number, stdoutEnd: state.stdout.written,
                stderrEnd: state.stderr.written,
                isComplete: state.isComplete && !state.isHoldingBack, writtenMilliseconds: WallClock.nowMilliseconds())
            switch state.outcome {
            case nil: return nil
            case .finished(let result): record.result = result
            case .failed(let error): record.failure = error
            }
            return record
        }
    }
}
