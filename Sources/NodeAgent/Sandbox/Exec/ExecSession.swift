public import FastableCore
import NIOCore
import NodeLinux
import Synchronization

/// One exec: its output so far, its result once it has ended, and everybody who follows it.
public final class ExecSession: Sendable {
    public let exec: ExecID
    public let container: ContainerID
    /// Named in the message when it cannot be run.
    let command: ExecCommand?
    /// Its number at init, and the way there; absent for an exec that was read from disk.
    let number: UInt32
    let link: InitLink?
    let recorder: ExecRecorder?
    let stdout: SpoolFile
    let stderr: SpoolFile
    let state: Mutex<ExecState>
    /// Its own ones; absent for almost all.
    let secrets: SecretFile?
    let activity: ProjectActivity?
    /// What its container had come to when it began, or when this daemon found it.
    let limitsBefore: LimitCounts?

    /// An exec that init holds, or is about to. `held` is what init has told of it.
    init(
        exec: ExecID, container: ContainerID, number: UInt32, command: ExecCommand?, store: ExecStore, link: InitLink,
        recorder: ExecRecorder, masking: ExecMasking = ExecMasking(), activity: ProjectActivity? = nil,
        held: InitReport.Held? = nil
    ) {
        self.exec = exec
        secrets = masking.secrets
        self.activity = activity
        limitsBefore = activity?.limits.counts(of: container)
        self.container = container
        self.command = command
        self.link = link
        self.recorder = recorder
        self.number = number
        stdout = store.spool(exec, "stdout", isNew: held == nil)
        stderr = store.spool(exec, "stderr", isNew: held == nil)
        let starts = (stdout: stdout.start, stderr: stderr.start)
        let recovered = held.map { ExecState(recovered: $0, container: container, masking, starts, now: .now) }
        state = Mutex(recovered ?? ExecState(starting: command, container: container, masking, now: .now))
    }

    /// An exec that has ended, from its record.
    init(_ record: ExecRecord, store: ExecStore) {
        exec = record.exec
        container = record.container
        command = nil
        link = nil
        recorder = nil
        activity = nil
        limitsBefore = nil
        number = 0
        secrets = nil
        stdout = store.spool(record.exec, "stdout", isNew: false)
        stderr = store.spool(record.exec, "stderr", isNew: false)
        var state = ExecState(
            container: record.container, stdout: ExecLog(stored: record.stdoutEnd, fileStart: stdout.start),
            stderr: ExecLog(stored: record.stderrEnd, fileStart: stderr.start), input: ExecInput(isOpen: false))
        state.stdout.end()
        state.stderr.end()
        if let result = record.result {
            state.outcome = .finished(result)
        } else {
            state.outcome = .failed(record.failure ?? Self.lost)
        }
        self.state = Mutex(state)
    }

    /// For readers of an exec whose container is no more.
    static let lost = FastableError(
        .gone, "The container ended while the command ran. Run the command again to get a new one.")

    /// Whether it runs, and how it ended. Background processes of an ended command do not count as running.
    public var status: ExecStatus {
        state.withLock { state in
            var status = ExecStatus(
                exec: exec, running: state.outcome == nil && !state.hasNoProcess, result: nil,
                stdoutBytes: state.stdout.received,
                stderrBytes: state.stderr.received)
            if case .finished(let result) = state.outcome { status.result = result }
            return status
        }
    }

    /// From here on its output is masked for these, which are also other commands'.
    func mask(_ patterns: SecretPatterns) {
        state.withLock { state in
            state.stdout.mask(patterns)
            state.stderr.mask(patterns)
        }
    }

    /// No process of it is left, although its end may not have been told yet.
    func everythingEnded() { state.withLock { $0.hasNoProcess = true } }

    /// Gives all kept output from the given offsets on, or that of one channel, then the result. Any number of readers may.
    /// With `last` it begins so many bytes before the present ends; with `untilNow` it stops there, and the result comes
    /// if nothing has come since and the command has ended. One that `follows` is waited for when it vanishes; under a
    /// `name` it takes the place of the one before with that name. `followsInput` also tells how far its input has come.
    public func events(
        stdoutFrom: UInt64 = 0, stderrFrom: UInt64 = 0, last: UInt64? = nil, untilNow: Bool = false,
        only channel: UInt8? = nil, follows: Bool = true, name: String? = nil, followsInput: Bool = false
    ) -> ExecReader {
        let (number, replaced) = state.withLock {
            $0.addReader(
                stdoutFrom: stdoutFrom, stderrFrom: stderrFrom, last: last, untilNow: untilNow, only: channel,
                follows: follows, name: name, followsInput: followsInput)
        }
        replaced?.resume()
        return ExecReader(session: self, number: number)
    }
}

// MARK: what readers do

extension ExecSession {
    func step(_ number: Int) -> ExecState.Step {
        let (step, canAdmit) = state.withLock { ($0.step(number), $0.isHoldingBack) }
        if canAdmit { schedulePump() }
        return step
    }

    func read(_ number: Int, channel: UInt8, offset: UInt64, count: Int) async throws -> ExecChunk? {
        let file = channel == 1 ? stdout : stderr
        let bytes: ByteBuffer
        do {
            bytes = try await BlockingPool.shared.run { try file.read(at: offset, count: count) }
        } catch {
            throw FastableError.unexpected(error, doing: "reading the output of a command")
        }
        let (chunk, canAdmit) = state.withLock { state in
            (state.didRead(number, channel: channel, bytes), state.isHoldingBack)
        }
        if canAdmit { schedulePump() }
        return chunk
    }

    /// Returns when there may be something new for a reader.
    func wait(_ number: Int) async throws {
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let waits = state.withLock { !Task.isCancelled && $0.wait(number, waiter) }
                if !waits { waiter.resume() }
            }
        } onCancel: {
            state.withLock { $0.takeWaiter(number) }?.resume()
        }
        try Task.checkCancellation()
    }

    func removeReader(_ number: Int) {
        let (waiter, canAdmit) = state.withLock { ($0.removeReader(number, now: .now), $0.isHoldingBack) }
        waiter?.resume()
        if canAdmit { schedulePump() }
    }
}
