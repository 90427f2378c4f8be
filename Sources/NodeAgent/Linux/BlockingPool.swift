import Dispatch
import FastableCore
import Glibc
import Synchronization

/// Threads for system calls that may wait, so that Swift's few cooperative threads never do.
///
/// Threads are made on demand, up to `Limits.blockingThreads`, and end after some idle seconds. They block all signals; a write to
/// a closed pipe gives `EPIPE` there and kills nobody. A job must not wait for another job of the pool.
///
/// Where jobs of several owners come, each owner has a lane. Lanes with waiting jobs take turns, and a lane of which nothing runs gets a
/// thread also where the jobs of others have taken all of them and never end.
public final class BlockingPool: Sendable {
    public static let shared = BlockingPool(threadLimit: Limits.blockingThreads)
    /// For work on projects' files, which may take minutes: commands and the node's own records do not wait for it.
    package static let files = BlockingPool(threadLimit: Limits.blockingFileThreads)
    /// For waiting until files change.
    package static let watches = BlockingPool(threadLimit: Limits.watchesPerNode)
    /// For waiting for programs that search. Each project has few at a time, and a program takes more than the thread that waits for it.
    package static let searches = BlockingPool(threadLimit: .max)

    package typealias Job = @Sendable () -> Void

    /// Whose a job is.
    package struct Lane: Sendable, Hashable {
        private static let last = Atomic(0)
        private let number: Int

        package init() { number = Self.last.add(1, ordering: .relaxed).newValue }
    }

    /// A job with its lane.
    fileprivate struct Work: Sendable {
        var job: Job
        var lane: Lane
    }

    /// A thread that waits for its next job.
    fileprivate final class Worker: Sendable {
        let work = Mutex<Work?>(nil)
        let wake = DispatchSemaphore(value: 0)
    }

    fileprivate struct State {
        var threads = 0
        var idle: [Worker] = []
        /// How many jobs of a lane run; lanes without any are left out, here and below.
        var running: [Lane: Int] = [:]
        var waiting: [Lane: [Job]] = [:]
        /// Lanes with waiting jobs; the first one is next.
        var turns: [Lane] = []
    }

    private let state = Mutex(State())
    private let threadLimit: Int
    private static let idleSeconds = 10
    private static let common = Lane()

    package init(threadLimit: Int) { self.threadLimit = threadLimit }

    /// Runs `body` on a thread of the pool.
    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await run(in: Self.common, body)
    }

    /// The same for one of several owners.
    package func run<Value: Sendable>(
        in lane: Lane, _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            submit(in: lane) { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Runs `body` some time soon; nobody waits for it.
    package func submit(_ job: @escaping Job) { submit(in: Self.common, job) }

    package func submit(in lane: Lane, _ job: @escaping Job) {
        enum Next { case wake(Worker), start(Worker), queued }
        let next = state.withLock { state -> Next in
            if let worker = state.idle.popLast() {
                state.begin(lane)
                return .wake(worker)
            }
            if state.threads < threadLimit || state.running[lane] == nil {
                state.threads += 1
                state.begin(lane)
                return .start(Worker())
            }
            state.queue(job, lane)
            return .queued
        }
        switch next {
        case .wake(let worker):
            worker.work.withLock { $0 = Work(job: job, lane: lane) }
            worker.wake.signal()
        case .start(let worker):
            worker.work.withLock { $0 = Work(job: job, lane: lane) }
            start(worker)
        case .queued: break
        }
    }

    private func start(_ worker: Worker) {
        let context = Unmanaged.passRetained(Context(pool: self, worker: worker))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let context = Unmanaged<Context>.fromOpaque(argument).takeRetainedValue()
                context.pool.serve(context.worker)
                return nil
            }, context.toOpaque())
        if result == 0 {
            pthread_detach(thread)
        } else {
            // No thread can be had: the job waits for one that exists, or runs here when there is none.
            context.release()
            giveBack(worker)
        }
    }

    private final class Context {
        let pool: BlockingPool
        let worker: Worker
        init(pool: BlockingPool, worker: Worker) {
            self.pool = pool
            self.worker = worker
        }
    }

    private func giveBack(_ worker: Worker) {
        guard let work = worker.work.withLock({ $0.take() }) else { return }
        let runHere = state.withLock { state -> Bool in
            state.threads -= 1
            state.end(work.lane)
            if state.threads == 0 { return true }
            state.queue(work.job, work.lane)
            return false
        }
        if runHere { work.job() }
    }

    private func serve(_ worker: Worker) {
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, nil)
        var work = worker.work.withLock { $0.take() }
        while let lane = Self.run(&work) { work = next(worker, after: lane) }
    }

    /// Runs a job and lets go of it, and with it of what it holds.
    private static func run(_ work: inout Work?) -> Lane? {
        guard let current = work.take() else { return nil }
        current.job()
        return current.lane
    }

    /// The next job of a thread, or `nil` when it shall end.
    private func next(_ worker: Worker, after lane: Lane) -> Work? {
        enum Next { case run(Work), rest, end }
        let next = state.withLock { state -> Next in
            state.end(lane)
            // Else nothing of that lane would run.
            if state.running[lane] == nil, let job = state.takeWaiting(lane) {
                return .run(Work(job: job, lane: lane))
            }
            if state.threads > threadLimit {
                state.threads -= 1
                return .end
            }
            if let lane = state.turns.first, let job = state.takeWaiting(lane) {
                return .run(Work(job: job, lane: lane))
            }
            state.idle.append(worker)
            return .rest
        }
        switch next {
        case .run(let work): return work
        case .end: return nil
        case .rest: return rest(worker)
        }
    }

    private func rest(_ worker: Worker) -> Work? {
        if worker.wake.wait(timeout: .now() + .seconds(Self.idleSeconds)) == .timedOut {
            let ends = state.withLock { state -> Bool in
                guard let index = state.idle.firstIndex(where: { $0 === worker }) else { return false }
                state.idle.remove(at: index)
                state.threads -= 1
                return true
            }
            if ends { return nil }
            // A job was handed over at this very moment; its signal follows.
            worker.wake.wait()
        }
        return worker.work.withLock { $0.take() }
    }
}

extension BlockingPool.State {
    fileprivate mutating func begin(_ lane: BlockingPool.Lane) { running[lane, default: 0] += 1 }

    fileprivate mutating func end(_ lane: BlockingPool.Lane) {
        let rest = (running[lane] ?? 1) - 1
        running[lane] = rest == 0 ? nil : rest
    }

    fileprivate mutating func queue(_ job: @escaping BlockingPool.Job, _ lane: BlockingPool.Lane) {
        if waiting[lane] == nil { turns.append(lane) }
        waiting[lane, default: []].append(job)
    }

    /// The first waiting job of a lane, which runs from now on. The next turn is that of another lane.
    fileprivate mutating func takeWaiting(_ lane: BlockingPool.Lane) -> BlockingPool.Job? {
        guard let job = waiting[lane]?.removeFirst() else { return nil }
        turns.removeAll { $0 == lane }
        if waiting[lane]?.isEmpty ?? true { waiting[lane] = nil } else { turns.append(lane) }
        begin(lane)
        return job
    }
}
