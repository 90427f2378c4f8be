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
/// The change goes on when its callers go away: the next one asks for its answer.
final class OnceService: Sendable {
    private struct Running {
        var digest: [UInt8]
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
        _ operation: Operation, _ call: Operation.Call, input: JSONValue, key: String, _ record: AuditLog.Record
    ) async throws -> Operation.Answer {
        let key = OnceKey(workspace: call.context.principal.workspace, text: key)
        let digest = try digest(operation, input)
        let task = try running.withLock { running in
            if let known = running[key] {
                guard known.digest == digest else { throw Self.otherInput }
                return known.task
            }
            let task = Task {
                defer { forget(key) }
                return try await begin(operation, call, key, digest, record)
            }
            running[key] = Running(digest: digest, task: task)
            return task
        }
        // A caller that goes away stops waiting for nothing: the task ends by itself.
        return try await task.value
    }

    private func forget(_ key: OnceKey) { running.withLock { $0[key] = nil } }

    private func begin(
        _ operation: Operation, _ call: Operation.Call, _ key: OnceKey, _ digest: [UInt8], _ record: AuditLog.Record
    ) async throws -> Operation.Answer {
        let now = Date.nowMilliseconds
        let once = OnceRecord(
            key: key, digest: digest, exec: ExecID(), expiresAt: now.addingTimeInterval(Double(Limits.onceSeconds)))
        switch try await audit.intent(record, once: once) {
        case .fresh:
            try await requireNode(of: call.project, key)
            return try await attempt(operation, call, once, .first)
        case .known(let known):
            guard known.digest == digest else { throw Self.otherInput }
            guard let answer = known.answer else {
                guard operation.recovery != .refuse else { throw Self.unknownOutcome }
                try await audit.intent(record)
                return try await attempt(operation, call, known, .again)
            }
            return try await replay(answer, operation, call, known)
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
        _ answer: OnceRecord.Answer, _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord
    ) async throws -> Operation.Answer {
        switch answer {
        case .output(let output): return Operation.Answer(output: output, detail: ["replayed": true])
        case .failure(let error): throw error
        case .exec:
            var answer = try await handle(operation, call, once, .reading)
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
        _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord, _ kind: OperationContext.Attempt.Kind
    ) async throws -> Operation.Answer {
        do {
            let answer = try await handle(operation, call, once, kind)
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
                case .limit: try await self.store.forgetOnce(once.key)
                case .invalid, .unprocessable, .unauthenticated, .forbidden, .notFound, .conflict, .ambiguous, .stale,
                    .gone, .binary, .tooLarge:
                    try await self.store.finishOnce(once.key, .failure(failure))
                }
            }
            throw failure
        }
    }

    private func handle(
        _ operation: Operation, _ call: Operation.Call, _ once: OnceRecord, _ kind: OperationContext.Attempt.Kind
    ) async throws -> Operation.Answer {
        var call = call
        call.context.attempt = OperationContext.Attempt(exec: once.exec, kind: kind)
        if let events = call.context.events {
            // A reader that goes away does not end what others may ask for again.
            call.context.events = { event in try? await events(event) }
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
