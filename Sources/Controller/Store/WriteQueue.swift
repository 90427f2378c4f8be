import FastableCore
import GRDB
import Synchronization

/// Takes writes from any number of tasks to the one writer of the database, and lets those that wait share a
/// transaction.
///
/// A lone write costs one switch to the writer's thread and back. While a transaction runs, newcomers gather, and all
/// of them go into the next one: under load the cost of a commit is divided by their number.
///
/// When one body of a shared transaction throws, nothing of it is kept and each body runs again in a transaction of
/// its own, so that a write never suffers from its neighbours. When the database itself fails, all fail at once.
///
/// One write of a transaction that has to be on the disk itself at once brings all of it there.
///
/// A write that was submitted runs, also when its task was cancelled: an audit event must not be lost because its
/// caller went away.
final class WriteQueue: Sendable {
    /// One write. `run` keeps the outcome, `finish` hands it to the caller after the commit.
    private struct Job: Sendable {
        var durability: Durability
        var run: @Sendable (Database) throws -> @Sendable () -> Void
        var fail: @Sendable (any Error) -> Void
    }

    private struct State {
        var waiting: [Job] = []
        var isDraining = false
    }

    private let pool: DatabasePool
    private let saver: LogSaver
    private let state = Mutex(State())
    /// What the writer's connection was told last.
    private let present = Mutex<Durability?>(nil)

    init(_ pool: DatabasePool, saver: LogSaver) {
        self.pool = pool
        self.saver = saver
    }

    func submit<Value: Sendable>(
        _ durability: Durability, _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws -> Value {
        try await withUnsafeThrowingContinuation { continuation in
            enqueue(
                Job(
                    durability: durability,
                    run: { db in
                        let value = try body(db)
                        return { continuation.resume(returning: value) }
                    },
                    fail: { continuation.resume(throwing: $0) }))
        }
    }

    private enum Admission { case full, queued, queuedFirst }

    private func enqueue(_ job: Job) {
        let admission: Admission = state.withLock { state in
            guard state.waiting.count < Limits.storeWritesWaiting else { return .full }
            state.waiting.append(job)
            defer { state.isDraining = true }
            return state.isDraining ? .queued : .queuedFirst
        }
        switch admission {
        case .queued: break
        case .queuedFirst: pool.asyncWriteWithoutTransaction { db in self.drain(db) }
        case .full:
            job.fail(
                FastableError(
                    .unavailable, "The controller has more to write than its disk takes. Try again soon.",
                    context: "\(Limits.storeWritesWaiting) writes are waiting", retryAfterSeconds: 2))
        }
    }

    /// Runs on the writer's thread until nothing waits.
    private func drain(_ db: Database) {
        while true {
            let batch = state.withLock { state in
                let batch = Array(state.waiting.prefix(Limits.storeWritesPerTransaction))
                state.waiting.removeFirst(batch.count)
                state.isDraining = !batch.isEmpty
                return batch
            }
            guard !batch.isEmpty else { return }
            do {
                try commit(batch, db)
            } catch  where batch.count > 1 {
                for job in batch { runAlone(job, db) }
            } catch {
                batch.first?.fail(error)
            }
        }
    }

    private func runAlone(_ job: Job, _ db: Database) {
        do {
            try commit([job], db)
        } catch {
            job.fail(error)
        }
    }

    /// Callers are told only after the commit.
    private func commit(_ jobs: [Job], _ db: Database) throws {
        var finishes: [@Sendable () -> Void] = []
        let durability: Durability = jobs.contains { $0.durability == .now } ? .now : .soon
        try prepare(durability, db)
        try db.inTransaction(.immediate) {
            for job in jobs { finishes.append(try job.run(db)) }
            return .commit
        }
        // Nobody waits for the saving, so the callers come first.
        for finish in finishes { finish() }
        if durability == .soon { saver.saveSoon() }
    }

    /// With `FULL`, a commit returns when the log is on the disk itself, and all that was written to it before.
    private func prepare(_ durability: Durability, _ db: Database) throws {
        try present.withLock { present in
            guard present != durability else { return }
            try db.execute(sql: "PRAGMA synchronous = \(durability == .now ? "FULL" : "NORMAL")")
            present = durability
        }
    }
}
