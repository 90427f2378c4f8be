import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableWire
import FoundationEssentials
import Logging
import NIOCore

/// Runs commands in containers and follows them to their end.
public final class ExecService: Sendable {
    /// How a command ended, and its output when it was collected.
    struct Outcome: Sendable {
        var result: ExecResult
        var stdout: CappedOutput
        var stderr: CappedOutput
    }

    typealias Listener = @Sendable (OperationEvent) async throws -> Void

    let store: any Store
    let projects: ProjectService
    let gate: OperationGate
    private let metrics: Metrics
    private let logger: Logger

    init(store: any Store, projects: ProjectService, gate: OperationGate, metrics: Metrics, logger: Logger) {
        self.store = store
        self.projects = projects
        self.gate = gate
        self.metrics = metrics
        self.logger = logger
    }

    /// Runs a command to its end.
    ///
    /// Events are told in order and awaited. When the caller's task is cancelled, or its listener throws, the command is
    /// killed with all its descendants before this throws. When the link is lost the command goes on: the error is
    /// `unavailable` and carries the `execId` with which the result can be fetched later.
    ///
    /// - Parameter attempt: brings the command's id; unless it is the first one, a command that was started is followed.
    func run(
        _ command: ExecCommand, in project: Project, request: RequestID, collectsOutput: Bool,
        attempt: OperationContext.Attempt? = nil, listener: Listener?
    ) async throws -> Outcome {
        let placed = try await projects.placed(project)
        let exec = attempt?.exec ?? ExecID()
        if let attempt, attempt.kind != .first {
            let found = try await follow(exec, on: placed, command, request, collectsOutput, listener)
            if let found { return found }
            guard attempt.kind == .again else {
                throw FastableError(
                    .gone, "The command \(exec) was run and has ended; what it printed is no longer kept.",
                    details: ["execId": .string(exec.description)])
            }
        }
        let handle = ExecHandle(
            id: exec, workspace: project.workspace, project: project.id, node: placed.client.node,
            startedAt: .nowMilliseconds)
        // The record is written while the node starts the command: neither waits for the other.
        async let recorded: Void = record(handle, mayExist: attempt?.kind == .again)
        let stream = try await placed.client.open(
            .execStart, ExecStart(exec: exec, container: placed.project.containerSpec, command: command),
            request: request)
        metrics.add(.execsRunning, 1)
        defer { metrics.add(.execsRunning, -1) }
        var run = ExecRun(exec: exec, stream: stream, command: command, collectsOutput: collectsOutput)
        run.listener = listener
        do {
            try await recorded
            let outcome = try await run.follow()
            metrics.add(.execOutputBytes, Double(outcome.result.stdoutBytes), ["stdout"])
            metrics.add(.execOutputBytes, Double(outcome.result.stderrBytes), ["stderr"])
            return outcome
        } catch {
            throw await end(handle, on: placed, stream, request, after: error)
        }
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
    private func end(
        _ handle: ExecHandle, on placed: PlacedProject, _ stream: MuxStream, _ request: RequestID,
        after error: any Error
    ) async -> any Error {
        switch error {
        case let failure as ExecRun.NodeFailure:
            stream.reset(FastableError(.cancelled, "The controller stopped following the command."))
            return failure.explained(for: handle.id)
        default:
            await kill(handle, on: placed.client, signal: 9, request: request)
            stream.reset(FastableError(.cancelled, "The command was cancelled."))
            return (error as? ExecRun.ListenerFailure)?.cause ?? error
        }
    }

    /// Works also in a task that was cancelled.
    private func kill(_ handle: ExecHandle, on client: any NodeClient, signal: Int32, request: RequestID) async {
        let kill = Task {
            try await client.call(
                .execKill, ExecKill(project: handle.project, exec: handle.id, signal: signal), returning: Empty.self,
                request: request, timeout: .seconds(Limits.nodeAnswerSeconds))
        }
        if case .failure(let error) = await kill.result {
            logger.warning(
                "A command could not be killed.", metadata: ["exec": "\(handle.id)", "error": "\(error)"])
        }
    }
}
