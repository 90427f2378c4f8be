import ControllerDomain
import FastableCore
import Logging
import Synchronization

/// What every request passes, whether it is an operation or a stream of raw bytes: scope, limit, audit, metrics, log.
final class OperationGate: Sendable {
    /// What is asked for, as far as it is known before the input was read.
    struct Subject: Sendable {
        var operation: String
        var scope: Scope
        /// A mutating request is audited before it begins, too.
        var isMutating: Bool
    }

    private let audit: AuditLog
    private let metrics: Metrics
    private let logger: Logger
    private let inFlight = Mutex<[TokenID: Int]>([:])

    init(audit: AuditLog, metrics: Metrics, logger: Logger) {
        self.audit = audit
        self.metrics = metrics
        self.logger = logger
    }

    /// Runs `handle` on what `prepare` made of the request, and records how it ended.
    ///
    /// A refusal in `prepare` is recorded as denied: nothing was done. Throws `FastableError` only.
    ///
    /// - Parameter writesIntent: `false` when `handle` writes the intent of a change itself.
    func pass<Prepared: Sendable, Value: Sendable>(
        _ subject: Subject, _ context: OperationContext, writesIntent: Bool = true,
        prepare: () async throws -> (Prepared, ProjectID?, Operation.Note),
        handle: (Prepared) async throws -> (Value, [String: JSONValue])
    ) async throws -> Value {
        let began = ContinuousClock.now
        var record = AuditLog.Record(subject, context)
        do {
            try Access.authorize(context.principal, subject.scope)
            try enter(context.principal.token)
            defer { leave(context.principal.token) }
            let (prepared, project, note) = try await prepare()
            record.project = project
            record.note = note
            // The intent must be stored before anything happens; what only reads leaves a trace afterwards.
            if subject.isMutating && writesIntent { try await audit.intent(record) }
            record.isPermitted = true
            let (value, detail) = try await handle(prepared)
            await finish(&record, began, nil, detail)
            return value
        } catch {
            let failure = FastableError.unexpected(error, doing: "carrying out ‘\(subject.operation)’")
            await finish(&record, began, failure, [:])
            throw failure
        }
    }

    private func finish(
        _ record: inout AuditLog.Record, _ began: ContinuousClock.Instant, _ failure: FastableError?,
        _ detail: [String: JSONValue]
    ) async {
        let duration = ContinuousClock.now - began
        let operation = record.subject.operation
        metrics.add(.operations, 1, [operation, failure?.code.rawValue ?? "ok"])
        metrics.observe(.operationSeconds, duration / .seconds(1), [operation])
        record.note.detail.merge(detail) { _, new in new }
        await audit.outcome(record, failure: failure, duration: duration)
        guard let failure else { return }
        logger.log(
            level: failure.code == .internal ? .error : .info, "An operation failed.",
            metadata: [
                "operation": "\(operation)", "request": "\(record.context.requestID)",
                "code": "\(failure.code.rawValue)",
                "error": "\(failure)", "token": "\(record.context.principal.token)",
            ])
    }

    private func enter(_ token: TokenID) throws {
        let entered = inFlight.withLock { running in
            guard running[token, default: 0] < Limits.requestsPerTokenInFlight else { return false }
            running[token, default: 0] += 1
            return true
        }
        guard entered else {
            throw FastableError(
                .limit,
                "This token has \(Limits.requestsPerTokenInFlight) requests in flight, which is the most. "
                    + "Wait for some to end.",
                details: ["limit": .integer(Int64(Limits.requestsPerTokenInFlight))], retryAfterSeconds: 1)
        }
        metrics.add(.operationsInFlight, 1)
    }

    private func leave(_ token: TokenID) {
        metrics.add(.operationsInFlight, -1)
        inFlight.withLock { running in
            let count = running[token, default: 0] - 1
            running[token] = count > 0 ? count : nil
        }
    }
}
