import ControllerDomain
import ControllerStore
import FastableCore
import Logging
import Synchronization

/// Decides what goes into the audit, and when.
///
/// The intent of a mutating operation is stored before anything happens. Outcomes are stored behind the answer, in order, so
/// that nobody waits for them, and a few milliseconds of them together, since a transaction costs more than a row; `flush` waits
/// until all of them are.
public final class AuditLog: Sendable {
    /// What is known of a request while it runs.
    struct Record: Sendable {
        let subject: OperationGate.Subject
        let context: OperationContext
        var project: ProjectID?
        var note = Operation.Note()
        /// `false` until the checks have passed: what fails before that was refused, and did nothing.
        var isPermitted = false

        init(_ subject: OperationGate.Subject, _ context: OperationContext) {
            self.subject = subject
            self.context = context
        }

        var intent: AuditEvent { event(.intent, code: nil, detail: note.detail) }

        func event(_ phase: AuditEvent.Phase, code: FastableError.Code?, detail: [String: JSONValue]) -> AuditEvent {
            let principal = context.principal
            return AuditEvent(
                timeMilliseconds: Int64(clamping: WallClock.nowMilliseconds()), workspace: principal.workspace,
                actor: AuditEvent.Actor(token: principal.token, name: principal.name), door: context.door,
                request: context.requestID, operation: subject.operation, project: project, subject: note.subject,
                phase: phase, code: code, detail: detail)
        }
    }

    private struct State {
        var waiting: [AuditEvent] = []
        var isDraining = false
        /// A drain begins soon.
        var isDue = false
        var flushes: [CheckedContinuation<Void, Never>] = []
    }

    /// How long outcomes gather.
    private static let gatheringTime = Duration.milliseconds(Limits.auditGatheringMilliseconds)

    private let store: any AuditStore & OnceStore & ExecStore
    private let metrics: Metrics
    private let logger: Logger
    private let state = Mutex(State())

    init(store: any AuditStore & OnceStore & ExecStore, metrics: Metrics, logger: Logger) {
        self.store = store
        self.metrics = metrics
        self.logger = logger
    }

    /// Stores the intent. When that fails, the operation must not begin.
    func intent(_ record: Record) async throws { try await intent(record.intent) }

    func intent(_ event: AuditEvent) async throws {
        _ = try await counting { try await store.appendAudit(event) }
    }

    /// Stores the intent to run a command, unless it is stored already, together with the command's record.
    func intent(_ event: AuditEvent?, toRun exec: ExecHandle) async throws {
        guard let event else { return try await store.recordExec(exec, intent: nil) }
        try await counting { try await store.recordExec(exec, intent: event) }
    }

    /// Stores the intent of a change with an idempotency key, together with that; or tells what is known of the key.
    func intent(_ record: Record, once: OnceRecord) async throws -> OnceBeginning {
        try await counting { try await store.beginOnce(once, intent: record.intent, at: .nowMilliseconds) }
    }

    private func counting<Value>(_ write: () async throws -> Value) async throws -> Value {
        do { return try await write() } catch {
            metrics.add(.auditFailures)
            throw error
        }
    }

    /// Queues how a request ended; waits only when the database falls far behind.
    func outcome(_ record: Record, failure: FastableError?, duration: Duration) async {
        var detail = record.note.detail
        detail["durationMs"] = .integer(duration.milliseconds)
        // What became of a command that was cancelled.
        for name in ["execId", "everythingEnded", "wasForced"] { detail[name] = detail[name] ?? failure?.details[name] }
        let phase: AuditEvent.Phase = record.isPermitted ? .outcome : .denied
        await append(record.event(phase, code: failure?.code, detail: detail))
    }

    /// Queues an event of the platform itself.
    func append(_ event: AuditEvent) async {
        var event = event
        let (isFirst, isFull) = state.withLock { state in
            // Stamped where it takes its place, so that times rise along the chain.
            event.timeMilliseconds = Int64(clamping: WallClock.nowMilliseconds())
            state.waiting.append(event)
            defer { state.isDue = !state.isDraining }
            return (!state.isDraining && !state.isDue, state.waiting.count > Limits.auditOutcomesWaiting)
        }
        if isFirst {
            Task {
                try? await Task.sleep(for: Self.gatheringTime)
                await flush()
            }
        }
        if isFull { await flush() }
    }

    /// Returns when everything that was queued before is stored.
    public func flush() async {
        await withCheckedContinuation { continuation in
            let (isEmpty, starts) = state.withLock { state in
                guard state.isDraining || !state.waiting.isEmpty else { return (true, false) }
                state.flushes.append(continuation)
                defer { state.isDraining = true }
                return (false, !state.isDraining)
            }
            if isEmpty { continuation.resume() }
            if starts { Task { await drain() } }
        }
    }

    private func drain() async {
        while true {
            let (batch, flushes) = state.withLock { state in
                let batch = state.waiting
                state.waiting = []
                state.isDue = false
                guard batch.isEmpty else { return (batch, [CheckedContinuation<Void, Never>]()) }
                state.isDraining = false
                defer { state.flushes = [] }
                return (batch, state.flushes)
            }
            for continuation in flushes { continuation.resume() }
            guard !batch.isEmpty else { return }
            await store(batch)
        }
    }

    private func store(_ batch: [AuditEvent]) async {
        do { try await store.appendAudit(batch) } catch {
            // One of them may be what the database does not take.
            for event in batch { await store(event) }
        }
    }

    private func store(_ event: AuditEvent) async {
        do {
            try await store.appendAudit(event)
        } catch {
            metrics.add(.auditFailures)
            logger.error(
                "An audit record could not be stored.",
                metadata: [
                    "operation": "\(event.operation)", "request": "\(event.request)", "error": "\(error)",
                ])
        }
    }
}

extension Duration {
    /// Whole milliseconds.
    var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
