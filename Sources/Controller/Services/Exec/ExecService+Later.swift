import ControllerDomain
import ControllerFleet
import ControllerStore
public import FastableCore

/// What is known of a command that may have ended.
public struct ExecReport: Codable, Sendable {
    public var execId: ExecID
    public var project: ProjectID
    public var node: NodeID
    public var running: Bool
    /// `nil` while it runs.
    public var result: ExecResult?
}

/// Output streams of a command.
public enum ExecStreamName: String, Codable, Sendable, CaseIterable {
    case stdout, stderr

    var channel: UInt8 { self == .stdout ? ExecEvents.stdout : ExecEvents.stderr }
}

/// What can be asked of a command later, by its id.
extension ExecService {
    /// Whether it runs, and how it ended. Throws `not_found` for another workspace's, `gone` when the node has forgotten it,
    /// `unavailable` when the node is offline.
    public func status(of exec: ExecID, context: OperationContext) async throws -> ExecReport {
        try await pass("shell.status", exec, isMutating: false, context) { handle, client in
            let status = try await client.call(
                .execStatus, ExecReference(project: handle.project, exec: exec), returning: ExecStatus.self,
                request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
            return ExecReport(
                execId: exec, project: handle.project, node: handle.node, running: status.running,
                result: status.result)
        }
    }

    /// The bytes of one output stream from `offset` on. With `follow` it ends when the command has ended, without it after
    /// what is there now. Errors as `status`.
    public func output(
        of exec: ExecID, stream: ExecStreamName, offset: UInt64, follow: Bool, context: OperationContext
    ) async throws -> ExecOutput {
        try await pass("shell.output", exec, isMutating: false, context) { handle, client in
            let attach = ExecAttach(
                project: handle.project, exec: exec, stdoutOffset: stream == .stdout ? offset : 0,
                stderrOffset: stream == .stderr ? offset : 0, follow: follow,
                channel: stream.channel)
            var events = ExecEvents(try await client.open(.execAttach, attach, request: context.requestID))
            guard case .started(let offsets)? = try await events.next() else {
                throw FastableError(.internal, "The node sent output before it told where it begins.")
            }
            return ExecOutput(
                events, channel: stream.channel,
                firstOffset: stream == .stdout ? offsets.stdout : offsets.stderr)
        }
    }

    /// Follows the command from `offsets` on. With `input` the follower may also write: from `offsets.input` on, or behind what
    /// others wrote. With `only` it gets one of the output streams. Errors as `status`.
    public func attach(
        _ exec: ExecID, from offsets: ExecOffsets, input: ExecInputStart?, only stream: ExecStreamName? = nil,
        context: OperationContext
    ) async throws -> ExecAttachment {
        try await pass("shell.attach", exec, isMutating: input != nil, context) { handle, client in
            let attach = ExecAttach(
                project: handle.project, exec: exec, stdoutOffset: offsets.stdout, stderrOffset: offsets.stderr,
                channel: stream?.channel, input: input)
            return try await ExecAttachment(
                exec: exec, stream: try await client.open(.execAttach, attach, request: context.requestID))
        }
    }

    /// Sends a signal to the command; 9 ends it with all its descendants. Errors as `status`.
    func signal(_ exec: ExecID, _ signal: Int32, context: OperationContext) async throws {
        let handle = try await store.exec(exec, in: context.principal.workspace)
        _ = try await projects.nodes.client(for: handle.node).call(
            .execKill, ExecKill(project: handle.project, exec: exec, signal: signal), returning: Empty.self,
            request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
    }

    private func pass<Value: Sendable>(
        _ name: String, _ exec: ExecID, isMutating: Bool, _ context: OperationContext,
        _ body: (ExecHandle, any NodeClient) async throws -> Value
    ) async throws -> Value {
        let subject = OperationGate.Subject(operation: name, scope: .exec, isMutating: isMutating)
        return try await gate.pass(subject, context) {
            let handle = try await store.exec(exec, in: context.principal.workspace)
            return (handle, handle.project, Operation.Note(exec.description))
        } handle: { handle in
            (try await body(handle, try projects.nodes.client(for: handle.node)), [:])
        }
    }
}
