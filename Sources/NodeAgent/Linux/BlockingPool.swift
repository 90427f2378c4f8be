import Dispatch
import FastableCore
import Glibc
import Synchronization

/// Threads for system calls that may wait, so that Swift's few cooperative threads never do.
///
/// Threads are made on demand, up to `Limits.blockingThreads`, and end after some idle seconds. They block all signals; a write to
/// a closed pipe gives `EPIPE` there and kills nobody. A job must not wait for another job of the pool.
public final class BlockingPool: Sendable {
    public static let shared = BlockingPool(threadLimit: Limits.blockingThreads)
    /// For work on projects' files, which may take minutes: commands and the node's own records do not wait for it.
    package static let files = BlockingPool(threadLimit: Limits.blockingFileThreads)
    /// For waiting until files change.
    package static let watches = BlockingPool(threadLimit: Limits.watchesPerNode)

    package typealias Job = @Sendable () -> Void

    /// A thread that waits for its next job.
    private final class Worker: Sendable {
        let job = Mutex<Job?>(nil)
        let wake = DispatchSemaphore(value: 0)
    }

    private struct State {
        var threads = 0
        var idle: [Worker] = []
        var waiting: [Job] = []
    }

    private let state = Mutex(State())
    private let threadLimit: Int
    private static let idleSeconds = 10

    init(threadLimit: Int) { self.threadLimit = threadLimit }

    /// Runs `body` on a thread of the pool.
    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            submit { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Runs `body` some time soon; nobody waits for it.
    package func submit(_ job: @escaping Job) {
        enum Next { case wake(Worker), start(Worker), queued }
        let next = state.withLock { state -> Next in
            if let worker = state.idle.popLast() { return .wake(worker) }
            if state.threads < threadLimit {
                state.threads += 1
                return .start(Worker())
            }
            state.waiting.append(job)
            return .queued
        }
        switch next {
        case .wake(let worker):
            worker.job.withLock { $0 = job }
            worker.wake.signal()
        case .start(let worker):
            worker.job.withLock { $0 = job }
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
        let job = worker.job.withLock { $0.take() }
        let runHere = state.withLock { state -> Bool in
            state.threads -= 1
            if state.threads == 0 { return true }
            if let job { state.waiting.append(job) }
            return false
        }
        if runHere { job?() }
    }

    private func serve(_ worker: Worker) {
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, nil)
        while let job = next(worker) { job() }
    }

    /// The next job of a thread, or `nil` when it shall end.
    private func next(_ worker: Worker) -> Job? {
        if let job = worker.job.withLock({ $0.take() }) { return job }
        let queued = state.withLock { state -> Job? in
            if !state.waiting.isEmpty { return state.waiting.removeFirst() }
            state.idle.append(worker)
            return nil
        }
        if let queued { return queued }
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
        return worker.job.withLock { $0.take() }
    }
}
