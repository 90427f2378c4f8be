import FastableCore
import FastableWire
import NIOCore
import Synchronization

/// Follows one command that was just started, to its end or its deadline.
struct ExecRun: Sendable {
    /// The node's side failed: the command never started, or its link is lost. There is nothing to kill, or no way to.
    struct NodeFailure: Error {
        var cause: any Error
        var hasStarted: Bool

        /// The node knows a command with this id already.
        var saysTaken: Bool { !hasStarted && (cause as? FastableError)?.code == .conflict }

        func explained(for exec: ExecID) -> FastableError {
            var error = FastableError.unexpected(cause, doing: "following the command")
            guard error.code == .unavailable, error.details["killSwitch"] == nil else { return error }
            error.details["execId"] = .string(exec.description)
            error.message =
                hasStarted
                ? "The link to the node was lost while the command ran. The command goes on; its result can be fetched "
                    + "with its execId ‘\(exec)’: GET /api/execs/\(exec)."
                : "The link to the node was lost before it told that the command started. Ask with the execId ‘\(exec)’ "
                    + "(GET /api/execs/\(exec)) before you run it again."
            return error
        }
    }

    /// Whoever listened is gone.
    struct ListenerFailure: Error { var cause: any Error }

    let exec: ExecID
    let stream: MuxStream
    let command: ExecCommand
    let collectsOutput: Bool
    var listener: ExecService.Listener?
    /// Its container's image may have to come first.
    var mayPull = false
    private let waiting = Waiting()

    init(exec: ExecID, stream: MuxStream, command: ExecCommand, collectsOutput: Bool) {
        self.exec = exec
        self.stream = stream
        self.command = command
        self.collectsOutput = collectsOutput
    }

    /// Throws `NodeFailure`, `ListenerFailure`, `CancellationError`, or `timeout` when the node lets the deadline pass.
    func follow() async throws -> ExecService.Outcome {
        let beginning = Duration.seconds(ProjectService.startSeconds(mayPull: mayPull))
        let longest = .milliseconds(command.timeoutMilliseconds) + beginning + Self.slack
        watch(after: longest)
        defer { waiting.end() }
        return try await pump()
    }

    private static let slack = Duration.seconds(Limits.execAnswerSlackSeconds)

    /// Gives up when the deadline has passed and the node has been silent for a while. The node enforces the command's own
    /// deadline; this only catches a node that does not. Time in which the listener was slow does not count.
    private func watch(after delay: Duration) {
        waiting.timer(
            stream.schedule(after: delay) {
                guard waiting.givesUp(after: Self.slack) else { return watch(after: Self.slack) }
                stream.reset(overdue)
            })
    }

    private var overdue: FastableError {
        FastableError(
            .timeout, "The node did not tell the end of the command in time. It was told to kill it.",
            details: ["execId": .string(exec.description)])
    }

    private func pump() async throws -> ExecService.Outcome {
        var events = ExecEvents(stream)
        var stdout = CappedOutput(limit: Limits.toolOutputBytes)
        var stderr = CappedOutput(limit: Limits.toolOutputBytes)
        var missingBytes: UInt64 = 0
        var hasStarted = false
        while let step = try await next(&events, hasStarted) {
            if case .starting(let progress) = step {
                try await tell(.progress(message: progress.message, fraction: progress.fraction))
                continue
            }
            hasStarted = true
            switch step {
            case .starting: break
            case .started:
                try await tell(.execStarted(exec))
            case .data(let channel, let offset, let bytes):
                if collectsOutput {
                    if channel == ExecEvents.stdout {
                        stdout.append(bytes, at: offset)
                    } else {
                        stderr.append(bytes, at: offset)
                    }
                }
                try await tell(.output(channel: channel, bytes))
            case .gap(let channel, let from, let to):
                missingBytes += to - min(from, to)
                try await tell(.missing(channel: channel, from: from, to: to))
            case .inputPassed: break
            case .finished(let result):
                guard result.exec == exec else { break }
                return ExecService.Outcome(
                    result: result, stdout: stdout, stderr: stderr, missingBytes: missingBytes)
            }
        }
        throw FastableError(
            .internal, "The node ended the command's stream without its result. It was told to kill it.")
    }

    private func next(_ events: inout ExecEvents, _ hasStarted: Bool) async throws -> ExecEvents.Step? {
        waiting.began()
        defer { waiting.paused() }
        do {
            return try await events.next()
        } catch let nonsense as ExecEvents.Nonsense {
            throw nonsense
        } catch {
            try Task.checkCancellation()
            if waiting.hasGivenUp { throw overdue }
            throw NodeFailure(cause: error, hasStarted: hasStarted)
        }
    }

    private func tell(_ event: OperationEvent) async throws {
        guard let listener else { return }
        do {
            try await listener(event)
        } catch {
            try Task.checkCancellation()
            throw ListenerFailure(cause: error)
        }
    }
}

/// Since when the node is waited for, and the timer that looks whether that is too long.
private final class Waiting: Sendable {
    private struct State {
        /// `nil` while it is not waited for.
        var since: ContinuousClock.Instant?
        var hasGivenUp = false
        var hasEnded = false
        var timer: Scheduled<Void>?
    }

    private let state = Mutex(State())

    var hasGivenUp: Bool { state.withLock { $0.hasGivenUp } }

    func began() { state.withLock { $0.since = .now } }

    func paused() { state.withLock { $0.since = nil } }

    func givesUp(after limit: Duration) -> Bool {
        state.withLock { state in
            if let since = state.since, ContinuousClock.now - since >= limit { state.hasGivenUp = true }
            return state.hasGivenUp
        }
    }

    /// The timer that counts from now on.
    func timer(_ timer: Scheduled<Void>) {
        let isLate = state.withLock { state in
            state.timer = timer
            return state.hasEnded
        }
        if isLate { timer.cancel() }
    }

    func end() {
        let timer = state.withLock { state in
            state.hasEnded = true
            return state.timer.take()
        }
        timer?.cancel()
    }
}
