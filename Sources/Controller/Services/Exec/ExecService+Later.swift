import ControllerDomain
import ControllerFleet
import ControllerStore
public import FastableCore
import FastableWire
import NIOCore

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
        try await pass("shell.status", exec, isMutating: false, context) { handle in
            if let result = handle.result {
                return ExecReport(
                    execId: exec, project: handle.project, node: handle.node, running: false, result: result)
            }
            let status = try await projects.nodes.client(for: handle.node).call(
                .execStatus, ExecReference(project: handle.project, exec: exec), returning: ExecStatus.self,
                request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
            return ExecReport(
                execId: exec, project: handle.project, node: handle.node, running: status.running,
                result: status.result)
        }
    }

    /// The bytes of one output stream from a place on. With `follow` it ends when the command has ended, without it after
    /// what is there now. Errors as `status`.
    public func output(
        of exec: ExecID, stream: ExecStreamName, from start: OutputStart, follow: Bool, follower: String? = nil,
        context: OperationContext
    ) async throws -> ExecOutput {
        try await pass("shell.output", exec, isMutating: false, context) { handle in
            let client = try clientWithOutput(of: handle)
            let place = follow ? try attachments.take(context.principal.token) : nil
            let attach = ExecAttach(
                project: handle.project, exec: exec, stdoutOffset: start.offsets.stdout,
                stderrOffset: start.offsets.stderr, last: start.lastBytes, follow: follow, channel: stream.channel,
                follower: follow ? Self.name(follower, context) : nil)
            var events = ExecEvents(try await client.open(.execAttach, attach, request: context.requestID))
            guard case .started(let offsets)? = try await events.next() else {
                throw FastableError(.internal, "The node sent output before it told where it begins.")
            }
            return ExecOutput(
                events, channel: stream.channel,
                firstOffset: stream == .stdout ? offsets.stdout : offsets.stderr, place: place)
        }
    }

    /// A run that the project's node has begun by itself: from here on it is a command like any other.
    func remember(_ exec: ExecID, of project: Project, line: String) async throws {
        guard let node = project.node else { return }
        let handle = ExecHandle(
            id: exec, workspace: project.workspace, project: project.id, node: node, startedAt: .nowMilliseconds,
            command: line)
        do {
            let known = try await store.exec(exec, in: project.workspace)
            // What a node says names no other project's command.
            guard known.project == project.id else { throw FastableError.missing(.exec, exec.description) }
        } catch let error as FastableError where error.code == .notFound {
            try await store.recordExec(handle, intent: nil)
        }
    }

    /// Follows the command from a place on. With `input` the follower may also write: from `offsets.input` on, or behind what
    /// others wrote. With `only` it gets one of the output streams. A follower with a name takes the place of the one that the same token
    /// had under it. Errors as `status`.
    public func attach(
        _ exec: ExecID, from start: OutputStart, input: ExecInputStart?, only stream: ExecStreamName? = nil,
        follower: String? = nil, context: OperationContext
    ) async throws -> ExecAttachment {
        try await pass("shell.attach", exec, isMutating: input != nil, context) { handle in
            let client = try clientWithOutput(of: handle)
            let place = try attachments.take(context.principal.token)
            let attach = ExecAttach(
                project: handle.project, exec: exec, stdoutOffset: start.offsets.stdout,
                stderrOffset: start.offsets.stderr, last: start.lastBytes, channel: stream?.channel, input: input,
                follower: Self.name(follower, context))
            return try await ExecAttachment(
                exec: exec, stream: try await client.open(.execAttach, attach, request: context.requestID), place: place
            )
        }
    }

    /// Nobody takes the place of another token's follower.
    private static func name(_ follower: String?, _ context: OperationContext) -> String? {
        follower.map { "\(context.principal.token) \($0)" }
    }

    /// Sends a signal to the command; 9 ends it with all its descendants. With a grace, everything that is left after it is
    /// ended too, and the receipt says so. Errors as `status`.
    func kill(
        _ exec: ExecID, signal: Int32, graceSeconds: Int?, context: OperationContext
    ) async throws -> ExecKillReceipt {
        let handle = try await store.exec(exec, in: context.principal.workspace)
        if let result = handle.result {
            return ExecKillReceipt(everythingEnded: true, wasForced: false, result: result)
        }
        return try await projects.nodes.client(for: handle.node).call(
            .execKill,
            ExecKill(
                project: handle.project, exec: exec, signal: signal, graceMilliseconds: graceSeconds.map { $0 * 1000 }),
            returning: ExecKillReceipt.self, request: context.requestID,
            timeout: .seconds(Limits.nodeAnswerSeconds + (graceSeconds ?? 0)))
    }

    /// Waits for the end of a command, at most so long, and collects what it printed from `offsets` on. The result is `nil` when
    /// it still runs. What is printed meanwhile is told as events. Errors as `status`.
    func wait(
        for exec: ExecID, seconds: Int, from offsets: ExecOffsets?, context: OperationContext
    ) async throws -> Gathered {
        let handle = try await store.exec(exec, in: context.principal.workspace)
        let start = offsets ?? ExecOffsets()
        if let result = handle.result {
            var gathered = Gathered(ExecOffsets(stdout: result.stdoutBytes, stderr: result.stderrBytes))
            gathered.result = result
            gathered.missingBytes =
                result.stdoutBytes - min(start.stdout, result.stdoutBytes) + result.stderrBytes
                - min(start.stderr, result.stderrBytes)
            return gathered
        }
        // Who counts what has come will ask for what follows it.
        let attach = ExecAttach(
            project: handle.project, exec: exec, stdoutOffset: start.stdout, stderrOffset: start.stderr,
            comesAgain: offsets != nil)
        let stream = try await projects.nodes.client(for: handle.node).open(
            .execAttach, attach, request: context.requestID)
        let attachment = try await ExecAttachment(exec: exec, stream: stream)
        defer { attachment.close() }
        let gathering = Gathering(start)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await gathering.follow(attachment, listener: context.events) }
            group.addTask { try await Task.sleep(for: .seconds(seconds)) }
            _ = try await group.next()
            group.cancelAll()
            return gathering.gathered
        }
    }

    /// A page of one output stream, as far as there is any.
    func page(
        of exec: ExecID, stream: ExecStreamName, from wanted: Int64, limit: Int, context: OperationContext
    ) async throws -> ExecPage {
        let handle = try await store.exec(exec, in: context.principal.workspace)
        let client = try clientWithOutput(of: handle)
        let status = try await client.call(
            .execStatus, ExecReference(project: handle.project, exec: exec), returning: ExecStatus.self,
            request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
        let offset = UInt64(max(0, wanted))
        let attach = ExecAttach(
            project: handle.project, exec: exec, stdoutOffset: offset, stderrOffset: offset,
            last: wanted < 0 ? wanted.magnitude : nil, follow: false, channel: stream.channel)
        let attachment = try await ExecAttachment(
            exec: exec, stream: try await client.open(.execAttach, attach, request: context.requestID))
        defer { attachment.close() }
        let begin = attachment.offsets
        var page = ExecPage(
            stream: stream, offset: stream == .stdout ? begin.stdout : begin.stderr, running: status.running)
        var events = attachment
        while page.bytes.readableBytes < limit, !page.isOver, let event = try await events.next() {
            page.add(event, channel: stream.channel, limit: limit)
        }
        page.totalBytes = max(stream == .stdout ? status.stdoutBytes : status.stderrBytes, page.nextOffset)
        return page
    }

    /// A project's commands, newest first, with what the node knows of them; nothing when it has forgotten them or is offline.
    func list(
        _ project: Project, before: ExecID?, limit: Int, context: OperationContext
    ) async throws -> [(handle: ExecHandle, status: ExecStatus?)] {
        let handles = try await store.execs(of: project.id, before: before, limit: limit)
        var known: [ExecID: ExecStatus] = [:]
        for (node, execs) in Dictionary(grouping: handles.filter { $0.result == nil }, by: \.node) {
            guard let client = try? projects.nodes.client(for: node) else { continue }
            let statuses = try await client.call(
                .execQuery, ExecQuery(project: project.id, execs: execs.map(\.id)), returning: [ExecStatus].self,
                request: context.requestID, timeout: .seconds(Limits.nodeAnswerSeconds))
            for status in statuses { known[status.exec] = status }
        }
        return handles.map { ($0, $0.result.map(Self.kept) ?? known[$0.id]) }
    }

    /// - Throws: `gone` when the node that had it has given the project up, `unavailable` when it is away.
    private func clientWithOutput(of handle: ExecHandle) throws -> any NodeClient {
        if let result = handle.result { throw Self.outputIsGone(result) }
        return try projects.nodes.client(for: handle.node)
    }

    private func pass<Value: Sendable>(
        _ name: String, _ exec: ExecID, isMutating: Bool, _ context: OperationContext,
        _ body: (ExecHandle) async throws -> Value
    ) async throws -> Value {
        let subject = OperationGate.Subject(operation: name, scope: .exec, isMutating: isMutating)
        return try await gate.pass(subject, context) {
            let handle = try await store.exec(exec, in: context.principal.workspace)
            return (handle, handle.project, Operation.Note(exec.description))
        } handle: { handle in
            (try await body(handle), [:])
        }
    }
}
