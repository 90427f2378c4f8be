import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore
import Synchronization

/// Runs commands in containers and follows them to their end.
public final class ExecService: Sendable {
    /// How a command ended, and its output when it was collected.
    struct Outcome: Sendable {
        var result: ExecResult
        var stdout: CappedOutput
        var stderr: CappedOutput
        /// Output that was no longer kept when this was followed.
        var missingBytes: UInt64 = 0
    }

    typealias Listener = @Sendable (OperationEvent) async throws -> Void

    let store: any Store
    let projects: ProjectService
    let gate: OperationGate
    let attachments = AttachmentLimit()
    private let metrics: Metrics
    private let logger: Logger
    /// Commands that may not start any more.
    private let cancelled = Mutex(RecentSet<ExecID>(limit: Limits.endedExecsRemembered))

    init(store: any Store, projects: ProjectService, gate: OperationGate, metrics: Metrics, logger: Logger) {
        self.store = store
        self.projects = projects
        self.gate = gate
        self.metrics = metrics
        self.logger = logger
    }

    /// What is to be run: the command, what it is given to read, and how lists show it.
    struct Order: Sendable {
        var command: ExecCommand
        /// All that it reads; `nil` leaves its input to those who attach, if it takes any.
        var input: ByteBuffer?
        var line: String
    }

    /// A command that the node was told to start.
    private struct Begun {
        var handle: ExecHandle
        var placed: PlacedProject
        var stream: MuxStream
    }

    private func begin(
        _ order: Order, on placed: PlacedProject, isFollowed: Bool, _ request: RequestID,
        _ attempt: OperationContext.Attempt?
    ) async throws -> Begun {
        let project = placed.project
        try await projects.kills.checkStart(project)
        let handle = ExecHandle(
            id: attempt?.exec ?? ExecID(), workspace: project.workspace, project: project.id, node: placed.client.node,
            startedAt: .nowMilliseconds, command: order.line)
        let start = ExecStart(
            exec: handle.id, container: placed.project.containerSpec, command: order.command, isFollowed: isFollowed,
            inputBytes: order.input?.readableBytes)
        if let attempt {
            // Who cancels it by its key must find it before it can start.
            try await record(handle, mayExist: attempt.kind == .again)
            guard !cancelled.withLock({ $0.contains(handle.id) }) else {
                throw FastableError(.cancelled, "The command \(handle.id) was cancelled before it started.")
            }
            let stream = try await placed.client.open(.execStart, start, request: request)
            return Begun(handle: handle, placed: placed, stream: stream)
        }
        // The record is written while the node starts the command: neither waits for the other.
        async let recorded: Void = record(handle, mayExist: false)
        let stream = try await placed.client.open(.execStart, start, request: request)
        let begun = Begun(handle: handle, placed: placed, stream: stream)
        do {
            try await recorded
        } catch {
            throw await end(begun, request, after: error)
        }
        return begun
    }

    /// Runs a command to its end.
    ///
    /// Events are told in order and awaited. When the caller's task is cancelled, or its listener throws, the command is
    /// killed with all its descendants before this throws. When the link is lost the command goes on: the error is
    /// `unavailable` and carries the `execId` with which the result can be fetched later.
    ///
    /// - Parameter attempt: brings the command's id; unless it is the first one, a command that was started is followed.
    func run(
        _ order: Order, in project: Project, request: RequestID, collectsOutput: Bool,
        attempt: OperationContext.Attempt? = nil, listener: Listener?
    ) async throws -> Outcome {
        let placed = try await projects.placed(project)
        if let attempt, attempt.kind != .first {
            let found = try await follow(attempt.exec, on: placed, order.command, request, collectsOutput, listener)
            if let found { return found }
            guard attempt.kind == .again else { throw Self.forgotten(attempt.exec) }
        }
        let begun = try await begin(order, on: placed, isFollowed: true, request, attempt)
        metrics.add(.execsRunning, 1)
        defer { metrics.add(.execsRunning, -1) }
        var run = ExecRun(
            exec: begun.handle.id, stream: begun.stream, command: order.command, collectsOutput: collectsOutput)
        run.listener = listener
        do {
            try await give(order.input, to: begun)
            let outcome = try await run.follow()
            metrics.add(.execOutputBytes, Double(outcome.result.stdoutBytes), ["stdout"])
            metrics.add(.execOutputBytes, Double(outcome.result.stderrBytes), ["stderr"])
            return outcome
        } catch let failure as ExecRun.NodeFailure where attempt?.kind == .again && failure.saysTaken {
            // The attempt before this one came to the node after it was asked.
            begun.stream.reset(FastableError(.cancelled, "The command runs under another attempt."))
            let found = try await follow(begun.handle.id, on: placed, order.command, request, collectsOutput, listener)
            guard let found else { throw Self.forgotten(begun.handle.id) }
            return found
        } catch {
            throw await end(begun, request, after: error)
        }
    }

    /// Starts a command that nobody waits for, and returns once it runs. Errors as `run`.
    func start(
        _ order: Order, in project: Project, request: RequestID, attempt: OperationContext.Attempt? = nil
    ) async throws -> ExecID {
        let placed = try await projects.placed(project)
        if let attempt, attempt.kind != .first {
            let query = ExecQuery(project: project.id, execs: [attempt.exec])
            let known = try await placed.client.call(
                .execQuery, query, returning: [ExecStatus].self, request: request,
                timeout: .seconds(Limits.nodeAnswerSeconds))
            guard known.isEmpty else { return attempt.exec }
            guard attempt.kind == .again else { throw Self.forgotten(attempt.exec) }
        }
        let begun = try await begin(order, on: placed, isFollowed: false, request, attempt)
        let exec = begun.handle.id
        do {
            try await give(order.input, to: begun)
            let attachment: ExecAttachment
            do {
                attachment = try await ExecAttachment(exec: exec, stream: begun.stream)
            } catch let failure as FastableError {
                throw ExecRun.NodeFailure(cause: failure, hasStarted: false)
            }
            attachment.close()
            return exec
        } catch let failure as ExecRun.NodeFailure where attempt?.kind == .again && failure.saysTaken {
            begun.stream.reset(FastableError(.cancelled, "The command runs under another attempt."))
            return exec
        } catch {
            throw await end(begun, request, after: error)
        }
    }

    /// The node keeps the input and gives it to the command, also when this stream or this controller is gone by then.
    private func give(_ input: ByteBuffer?, to begun: Begun) async throws {
        guard let input else { return }
        do {
            if input.readableBytes > 0 { try await begun.stream.send(data: input, channel: 0) }
        } catch is FastableError {
            // The node has refused the command, or the link is lost: following it tells which.
        }
    }

    /// Ends the command of a change with an idempotency key, or keeps it from starting. The change itself must be cancelled before.
    func cancel(
        _ exec: ExecID, graceSeconds: Int, context: OperationContext
    ) async throws -> ExecKillReceipt {
        cancelled.withLock { $0.insert(exec) }
        do {
            return try await kill(exec, signal: 15, graceSeconds: graceSeconds, context: context)
        } catch let error as FastableError where error.code == .notFound {
            // Nothing was started under this id, and nothing will be.
            return ExecKillReceipt(everythingEnded: true, wasForced: false, result: nil)
        }
    }

    private static func forgotten(_ exec: ExecID) -> FastableError {
        FastableError(
            .gone, "The command \(exec) was run and has ended; what it printed is no longer kept.",
            details: ["execId": .string(exec.description)])
    }

    private func record(_ handle: ExecHandle, mayExist: Bool) async throws {
        do {
            try await store.recordExec(handle)
        } catch let error as FastableError where mayExist && error.code == .conflict {
            // The attempt before this one got so far.
        }
    }

    /// Follows a command that an earlier attempt may have started; `nil` when the node does not know it.
    private func follow(
        _ exec: ExecID, on placed: PlacedProject, _ command: ExecCommand, _ request: RequestID, _ collectsOutput: Bool,
        _ listener: Listener?
    ) async throws -> Outcome? {
        let attach = ExecAttach(
            project: placed.project.id, exec: exec, stdoutOffset: 0, stderrOffset: 0, follow: true, channel: nil)
        let stream = try await placed.client.open(.execAttach, attach, request: request)
        var run = ExecRun(exec: exec, stream: stream, command: command, collectsOutput: collectsOutput)
        run.listener = listener
        do {
            return try await run.follow()
        } catch let failure as ExecRun.NodeFailure {
            stream.reset(FastableError(.cancelled, "The controller stopped following the command."))
            let error = failure.explained(for: exec)
            if error.code == .notFound { return nil }
            throw error
        } catch {
            stream.reset(FastableError(.cancelled, "The controller stopped following the command."))
            throw (error as? ExecRun.ListenerFailure)?.cause ?? error
        }
    }

    /// After a failure: kills the command unless the node itself has given up on it, and makes the error to throw.
    private func end(_ begun: Begun, _ request: RequestID, after error: any Error) async -> any Error {
        switch error {
        case let failure as ExecRun.NodeFailure:
            begun.stream.reset(FastableError(.cancelled, "The controller stopped following the command."))
            return failure.explained(for: begun.handle.id)
        default:
            await kill(begun.handle, on: begun.placed.client, signal: 9, request: request)
            begun.stream.reset(FastableError(.cancelled, "The command was cancelled."))
            return (error as? ExecRun.ListenerFailure)?.cause ?? error
        }
    }

    /// Works also in a task that was cancelled.
    private func kill(_ handle: ExecHandle, on client: any NodeClient, signal: Int32, request: RequestID) async {
        let kill = Task {
            try await client.call(
                .execKill, ExecKill(project: handle.project, exec: handle.id, signal: signal),
                returning: ExecKillReceipt.self,
                request: request, timeout: .seconds(Limits.nodeAnswerSeconds))
        }
        if case .failure(let error) = await kill.result {
            logger.warning(
                "A command could not be killed.", metadata: ["exec": "\(handle.id)", "error": "\(error)"])
        }
    }
}
