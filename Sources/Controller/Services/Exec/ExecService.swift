import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore
import ServiceLifecycle
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
    private let audit: AuditLog
    let attachments = AttachmentLimit()
    private let metrics: Metrics
    private let logger: Logger
    /// Commands that may not start any more.
    private let cancelled = Mutex(RecentSet<ExecID>(limit: Limits.endedExecsRemembered))

    init(
        store: any Store, projects: ProjectService, gate: OperationGate, audit: AuditLog, metrics: Metrics,
        logger: Logger
    ) {
        self.audit = audit
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
        /// When it may not start any more.
        var startBy: Date?
    }

    /// A command that the node was told to start.
    private struct Begun {
        var handle: ExecHandle
        var placed: PlacedProject
        var stream: MuxStream
        /// Its container counts as awake as long as it is followed.
        var admission: Admission
        /// Its image may have to come first.
        var mayPull: Bool
    }

    /// Who asks for a command, and what is known of that.
    struct Caller: Sendable {
        var request: RequestID
        /// Brings the command's id; unless it is the first one, a command that was started is followed.
        var attempt: OperationContext.Attempt?
        /// Stored before the command may start; `nil` when it is stored already.
        var intent: AuditEvent?

        init(_ context: OperationContext) {
            request = context.requestID
            attempt = context.attempt
            intent = context.intent
        }

        /// For a command that belongs to an operation whose intent is stored.
        init(_ request: RequestID) { self.request = request }
    }

    /// The intent and the record are stored in one step before the node hears of the command, so that nothing starts that nobody could
    /// find, or cancel by its key.
    private func begin(
        _ order: Order, on placed: PlacedProject, isFollowed: Bool, _ caller: Caller, hasListener: Bool = false
    ) async throws -> Begun {
        let attempt = caller.attempt
        let project = placed.project
        try await projects.kills.checkStart(project)
        let admission = try await projects.capacity.admit(project, on: placed.client.node)
        let handle = ExecHandle(
            id: attempt?.exec ?? ExecID(), workspace: project.workspace, project: project.id, node: placed.client.node,
            startedAt: .nowMilliseconds, command: order.line)
        try await record(handle, caller.intent, mayExist: attempt?.kind == .again)
        try Task.checkCancellation()
        guard attempt == nil || !cancelled.withLock({ $0.contains(handle.id) }) else {
            throw FastableError(.cancelled, "The command \(handle.id) was cancelled before it started.")
        }
        let start = ExecStart(
            exec: handle.id, container: try await projects.spec(of: placed.project), command: order.command,
            isFollowed: isFollowed,
            inputBytes: order.input?.readableBytes, skipsStarted: isFollowed && !hasListener ? true : nil,
            startWithinMilliseconds: try await timeToStart(order, handle, placed, caller),
            wantsStart: hasListener ? true : nil)
        let stream = try await placed.client.open(.execStart, start, request: caller.request)
        return Begun(
            handle: handle, placed: placed, stream: stream, admission: admission, mayPull: start.container.pull != nil)
    }

    /// A project's place for a command. Finding one, or bringing the project back, is a change that the intent must precede.
    private func placed(
        _ project: Project, _ caller: inout Caller, telling listener: Listener? = nil
    ) async throws -> PlacedProject {
        guard let intent = caller.intent else { return try await projects.placed(project, telling: listener) }
        var isStored = false
        let placed = try await projects.placed(project, telling: listener) {
            guard !isStored else { return }
            try await audit.intent(intent)
            isStored = true
        }
        if isStored { caller.intent = nil }
        return placed
    }

    /// How long the node has to start a command. When that time is over it is made sure that nothing starts which an earlier attempt,
    /// perhaps of another controller, has asked for.
    private func timeToStart(
        _ order: Order, _ handle: ExecHandle, _ placed: PlacedProject, _ caller: Caller
    ) async throws -> Int? {
        guard let startBy = order.startBy else { return nil }
        let seconds = min(startBy.timeIntervalSinceNow, Double(Limits.onceSeconds))
        guard seconds <= 0 else { return max(1, Int(seconds * 1000)) }
        if caller.attempt?.kind == .again {
            let receipt = await cancel(handle, on: placed.client, caller.request)
            guard receipt["everythingEnded"] == true else {
                throw FastableError(
                    .unavailable, "The node does not tell whether the command has started. Ask again.",
                    details: ["execId": .string(handle.id.description)], retryAfterSeconds: 2)
            }
            // Nothing starts any more; it may have started between the first look and its end.
            let known = try await placed.client.call(
                .execQuery, ExecQuery(project: handle.project, execs: [handle.id]), returning: [ExecStatus].self,
                request: caller.request, timeout: .seconds(Limits.nodeAnswerSeconds))
            guard known.isEmpty else {
                throw FastableError(
                    .unavailable,
                    "The command had started, and was ended since its time was over. Ask again for its end.",
                    details: ["execId": .string(handle.id.description)], retryAfterSeconds: 1)
            }
        }
        throw FastableError(
            .timeout, "The command did not start in time (‘startBy’), and never will.",
            details: ["field": "startBy"])
    }

    /// Runs a command to its end.
    ///
    /// Events are told in order and awaited. When the caller's task is cancelled, or its listener throws, the command is
    /// ended with all its descendants before this throws: by SIGTERM, and after a grace by force. When the link is lost, or the
    /// controller stops, the command goes on: the error is `unavailable` and carries the `execId` with which the result can be
    /// fetched later.
    ///
    func run(
        _ order: Order, in project: Project, for caller: Caller, collectsOutput: Bool, listener: Listener?
    ) async throws -> Outcome {
        var caller = caller
        let (request, attempt) = (caller.request, caller.attempt)
        if let kept = try await keptOutcome(of: attempt, in: project) { return kept }
        let placed = try await placed(project, &caller, telling: listener)
        if let attempt, attempt.kind != .first {
            let found = try await follow(attempt.exec, on: placed, order.command, request, collectsOutput, listener)
            if let found { return found }
            guard attempt.kind == .again else { throw Self.forgotten(attempt.exec) }
        }
        let begun = try await begin(order, on: placed, isFollowed: true, caller, hasListener: listener != nil)
        metrics.add(.execsRunning, 1)
        defer {
            metrics.add(.execsRunning, -1)
            begun.admission.release()
        }
        var run = ExecRun(
            exec: begun.handle.id, stream: begun.stream, command: order.command, collectsOutput: collectsOutput)
        run.mayPull = begun.mayPull
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
    func start(_ order: Order, in project: Project, for caller: Caller) async throws -> ExecID {
        var caller = caller
        let (request, attempt) = (caller.request, caller.attempt)
        if let attempt, try await keptOutcome(of: attempt, in: project) != nil { return attempt.exec }
        let placed = try await placed(project, &caller)
        if let attempt, attempt.kind != .first {
            let query = ExecQuery(project: project.id, execs: [attempt.exec])
            let known = try await placed.client.call(
                .execQuery, query, returning: [ExecStatus].self, request: request,
                timeout: .seconds(Limits.nodeAnswerSeconds))
            guard known.isEmpty else { return attempt.exec }
            guard attempt.kind == .again else { throw Self.forgotten(attempt.exec) }
        }
        let begun = try await begin(order, on: placed, isFollowed: false, caller)
        let exec = begun.handle.id
        defer { begun.admission.release() }
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

    private static func leftBehind(_ exec: ExecID) -> FastableError {
        FastableError(
            .gone,
            "The command \(exec) was given to a node that its project has left since, and nobody knows how it ended. Look, and use a new "
                + "idempotency key if it has to be run again.", details: ["execId": .string(exec.description)])
    }

    private func record(_ handle: ExecHandle, _ intent: AuditEvent?, mayExist: Bool) async throws {
        do {
            try await audit.intent(intent, toRun: handle)
        } catch let error as FastableError where mayExist && error.code == .conflict {
            // The attempt before this one got so far. What it started there is known there only.
            let earlier = try await store.exec(handle.id, in: handle.workspace)
            guard earlier.node == handle.node else { throw Self.leftBehind(handle.id) }
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

    /// After a failure: ends the command unless the node itself has given up on it, and makes the error to throw.
    private func end(_ begun: Begun, _ request: RequestID, after error: any Error) async -> any Error {
        if let failure = error as? ExecRun.NodeFailure {
            begun.stream.reset(FastableError(.cancelled, "The controller stopped following the command."))
            return failure.explained(for: begun.handle.id)
        }
        let isGivenUp = error is CancellationError || error is ExecRun.ListenerFailure
        if isGivenUp, Task.isShuttingDownGracefully {
            // The next controller finds the command, and whoever followed it comes back.
            let stops = FastableError(.unavailable, "The controller stops.", retryAfterSeconds: 2)
            begun.stream.reset(stops)
            return ExecRun.NodeFailure(cause: stops, hasStarted: true).explained(for: begun.handle.id)
        }
        let receipt = await cancel(begun.handle, on: begun.placed.client, request)
        begun.stream.reset(FastableError(.cancelled, "The command was cancelled."))
        let cause = (error as? ExecRun.ListenerFailure)?.cause ?? error
        var failure = FastableError.unexpected(cause, doing: "following the command")
        failure.details.merge(receipt) { $1 }
        return failure
    }

    /// Asks a command to end, and ends what is left of it after a short grace; what the node says of that, for the audit. Works also in
    /// a task that was cancelled.
    private func cancel(
        _ handle: ExecHandle, on client: any NodeClient, _ request: RequestID
    ) async -> [String: JSONValue] {
        let ending = Task {
            try await client.call(
                .execKill,
                ExecKill(
                    project: handle.project, exec: handle.id, signal: 15,
                    graceMilliseconds: Limits.execCancelGraceSeconds * 1000),
                returning: ExecKillReceipt.self, request: request,
                timeout: .seconds(Limits.nodeAnswerSeconds + Limits.execCancelGraceSeconds))
        }
        var said: [String: JSONValue] = ["execId": .string(handle.id.description)]
        switch await ending.result {
        case .success(let receipt):
            said["everythingEnded"] = .bool(receipt.everythingEnded)
            said["wasForced"] = .bool(receipt.wasForced)
        case .failure(let error as FastableError) where error.code == .notFound:
            // It had not started, and does not start any more.
            (said["everythingEnded"], said["wasForced"]) = (true, false)
        case .failure(let error):
            said["everythingEnded"] = false
            logger.warning("A command could not be ended.", metadata: ["exec": "\(handle.id)", "error": "\(error)"])
        }
        return said
    }
}
