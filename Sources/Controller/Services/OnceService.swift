import ControllerDomain
import ControllerStore
import Crypto
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Does a change once, however often it is asked for under one idempotency key.
///
/// The key is stored before the change begins, together with the audit's intent. Who asks again while it runs waits for the same
/// end; afterwards the stored answer is given. When the controller's end, or a lost link, left nobody who knows how it ended, the
/// operation says what a retry may do. A command is found again by its id, which is stored with the key.
///
/// The change goes on when its callers go away: the next one asks for its answer. Callers who listen hear the whole output of a command,
/// also those who come while it runs or when it has ended: they follow it from its beginning.
final class OnceService: Sendable {
    private struct Running {
        var digest: [UInt8]
        var start: CommandStart
        var task: Task<Operation.Answer, any Error>
    }

    private let store: any Store
    private let audit: AuditLog
    private let projects: ProjectService
    /// Inputs hold secrets: whoever has only the database must not be able to try out what they were.
    private let digestKey: SymmetricKey
    private let logger: Logger
    private let running = Mutex<[OnceKey: Running]>([:])

    init(store: any Store, audit: AuditLog, projects: ProjectService, digestKey: SymmetricKey, logger: Logger) {
        self.digestKey = digestKey
        self.store = store
        self.audit = audit
        self.projects = projects
        self.logger = logger
    }

    /// Throws `conflict` when the key stands for another input, or when it is not known how the first attempt ended and the
    /// operation cannot be repeated; `gone` when the answer is not kept; and what the operation throws.
    func run(
        _ operation: Operation, _ call: Operation.Call, key: String, _ record: AuditLog.Record
    ) async throws -> Operation.Answer {
        let key = OnceKey(workspace: call.context.principal.workspace, text: key)
        let digest = try digest(operation, call.input)
        let (change, isOurs) = try running.withLock { running in
            if let known = running[key] {
                guard known.digest == digest else { throw Self.otherInput }
                return (known, false)
            }
            let start = CommandStart()
            let task = Task {
                defer {
                    forget(key)
                    start.settle(nil)
                }
                return try await begin(operation, call, key, digest, record, start)
            }
            let new = Running(digest: digest, start: start, task: task)
            running[key] = new
            return (new, true)
        }
        if !isOurs, operation.recovery == .followCommand, call.context.events != nil, let exec = await change.start.exec
        {
            return try await follow(exec, operation, call)
        }
        // A caller that goes away stops waiting for nothing: the task ends by itself.
        let answer = try await change.task.value
        let leavesOutput = operation.recovery == .followCommand && !call.context.collectsOutput
        return leavesOutput ? try Self.withoutOutput(answer) : answer
    }

    /// Makes sure that no change begins under a key any more; gives what is known of it.
    func cancel(_ key: String, in workspace: WorkspaceID) async throws -> OnceRecord {
        let record = OnceRecord(
            key: OnceKey(workspace: workspace, text: key), digest: [], exec: ExecID(),
            expiresAt: Date.nowMilliseconds.addingTimeInterval(Double(Limits.onceSeconds)),
            answer: .failure(
                FastableError(.cancelled, "It was cancelled under its idempotency key before it could end by itself.")))
        switch try await store.cancelOnce(record, at: .nowMilliseconds) {
        case .fresh: return record
        case .known(let known): return known
        }
    }

    /// Tells a caller what a command prints from its beginning on, and how it ended.
    private func follow(
        _ exec: ExecID, _ operation: Operation, _ call: Operation.Call
    ) async throws -> Operation.Answer {
        var call = call
        call.context.attempt = OperationContext.Attempt(exec: exec, kind: .reading)
        var answer = try await operation.handle(call)
        answer.detail["replayed"] = true
        return answer
    }

    /// The answer for a door that has given the output already.
    private static func withoutOutput(_ answer: Operation.Answer) throws -> Operation.Answer {
        guard var fields = try JSON.decode(JSONValue.self, from: answer.output).object else { return answer }
        for name in ["stdout", "stderr"] { fields[name] = "" }
        fields["omitted"] = []
        // What was no longer kept is missing from what the door has given, too.
        fields["truncated"] = .bool(fields["missingBytes"] != nil)
        return Operation.Answer(output: try JSON.encode(JSONValue.object(fields)), detail: answer.detail)
    }

    private func forget(_ key: OnceKey) { running.withLock { $0[key] = nil } }

    private func begin(
        _ operation: Operation, _ call: Operation.Call, _ key: OnceKey, _ digest: [UInt8], _ record: AuditLog.Record,
        _ start: CommandStart
    ) async throws -> Operation.Answer {
        let now = Date.nowMilliseconds
        let once = OnceRecord(
            key: key, digest: digest, exec: ExecID(),
            expiresAt: now.addingTimeInterval(Double(call.context.idempotencySeconds)))
        switch try await audit.intent(record, once: once) {
        case .fresh:
            try await requireNode(of: call.project, key)
            return try await attempt(operation, call, once, .first, start)
        case .known(let known):
            guard known.digest == digest || known.digest.isEmpty else { throw Self.otherInput }
            guard let answer = known.answer else {
                guard operation.recovery != .refuse else { throw Self.unknownOutcome }
                try await audit.intent(record)
                return try await attempt(operation, call, known, .again, start)
            }
            return try await replay(answer, operation, call, known, start)
        }
    }

    /// When the node is away nothing has begun, so that a retry under the same key may.
    private func requireNode(of project: Project?, _ key: OnceKey) async throws {
        guard let project, project.node != nil else { return }
        do { _ = try await projects.placed(project) } catch {
            await keep(key) { try await store.forgetOnce(key) }
            throw error
        }
    }

    private func replay(
        _ answer: OnceRecord.Answer, _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord,
        _ start: CommandStart
    ) async throws -> Operation.Answer {
        switch answer {
        case .output(let output):
            let stored = Operation.Answer(output: output, detail: ["replayed": true])
            guard operation.recovery == .followCommand, call.context.events != nil, !Self.isDetached(output) else {
                return stored
            }
            do { return try await follow(once.exec, operation, call) } catch let error as FastableError
                where call.context.collectsOutput && (error.code == .gone || error.code == .unavailable)
            {
                // The node cannot tell it again; the answer has the most of it.
                return stored
            }
        case .failure(let error): throw error
        case .exec:
            var answer = try await handle(operation, call, once, .reading, start)
            answer.detail["replayed"] = true
            return answer
        case .dropped:
            throw FastableError(
                .gone,
                "This was done already under the same idempotency key; its answer is \(operation.hasSecretAnswer ? "secret" : "large") "
                    + "and was not kept.")
        }
    }

    private func attempt(
        _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord, _ kind: OperationContext.Attempt.Kind,
        _ start: CommandStart
    ) async throws -> Operation.Answer {
        do {
            let answer = try await handle(operation, call, once, kind, start)
            await keep(once.key) { try await self.store.finishOnce(once.key, Self.stored(answer, operation)) }
            return answer
        } catch {
            let failure = FastableError.unexpected(error, doing: "carrying out ‘\(operation.name)’")
            await keep(once.key) {
                switch failure.code {
                // What was reached is not known; the record stays without an answer.
                case .unavailable, .timeout, .cancelled, .internal: break
                // The command's id is taken: an earlier attempt has just started it.
                case .conflict where operation.recovery == .followCommand: break
                // Nothing was done, and later it may be possible.
                case .limit where kind == .first: try await self.store.forgetOnce(once.key)
                // An earlier attempt may have done it, or may still be on its way.
                case .limit: break
                case .invalid, .unprocessable, .unauthenticated, .forbidden, .notFound, .conflict, .ambiguous, .stale,
                    .gone, .binary, .tooLarge:
                    try await self.store.finishOnce(once.key, .failure(failure))
                }
            }
            throw failure
        }
    }

    private static func isDetached(_ output: Data) -> Bool {
        (try? JSON.decode(JSONValue.self, from: output))?["running"] == true
    }

    private func handle(
        _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord, _ kind: OperationContext.Attempt.Kind,
        _ start: CommandStart
    ) async throws -> Operation.Answer {
        var call = call
        call.context.attempt = OperationContext.Attempt(exec: once.exec, kind: kind)
        let events = call.context.events
        if events != nil || operation.recovery == .followCommand {
            // The answer that is kept has everything, whoever asked first.
            call.context.collectsOutput = true
            call.context.events = { event in
                if case .execStarted(let exec) = event { start.settle(exec) }
                // A reader that goes away does not end what others may ask for again.
                try? await events?(event)
            }
        }
        return try await operation.handle(call)
    }

    /// What cannot be stored leaves the record without an answer, which is true as well: a retry finds out.
    private func keep(_ key: OnceKey, _ write: () async throws -> Void) async {
        do { try await write() } catch {
            logger.error(
                "The answer to a request with an idempotency key could not be stored.",
                metadata: ["workspace": "\(key.workspace)", "error": "\(error)"])
        }
    }

    private static func stored(_ answer: Operation.Answer, _ operation: Operation) -> OnceRecord.Answer {
        if operation.hasSecretAnswer { return .dropped }
        if answer.output.count <= Limits.onceAnswerBytes { return .output(answer.output) }
        return operation.recovery == .followCommand ? .exec : .dropped
    }

    /// Equal values give equal bytes, however they were written.
    private func digest(_ operation: Operation, _ input: JSONValue) throws -> [UInt8] {
        var hasher = HMAC<SHA256>(key: digestKey)
        hasher.update(data: Array(operation.name.utf8) + [0])
        hasher.update(data: try JSON.encode(input))
        return Array(hasher.finalize())
    }

    private static let otherInput = FastableError(
        .conflict, "The idempotency key was used for another operation or input. Use a new key for each change.",
        details: ["field": "Idempotency-Key"])

    private static let unknownOutcome = FastableError(
        .conflict,
        "An earlier attempt under this idempotency key was cut short, and nobody knows whether it was carried out. Look, and use a new "
            + "key if it has to be done again.", details: ["field": "Idempotency-Key"])
}
