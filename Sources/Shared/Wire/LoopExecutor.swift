public import NIOCore
import Synchronization

/// Runs tasks on the thread of an event loop. A task that mostly waits for a channel and writes to it goes on there as soon as bytes
/// have come: a switch to another thread costs more than most of these tasks do.
///
/// It is not for tasks that compute for long or may wait for the disk: the loop's other channels would wait for them. Those go to
/// Swift's own threads, with `withTaskExecutorPreference(globalConcurrentExecutor)`.
public final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    private init(_ loop: any EventLoop) { self.loop = loop }

    /// They are kept, as loops are: whoever waits in a task may come back at any time.
    private static let made = Mutex<[ObjectIdentifier: LoopExecutor]>([:])

    public static func on(_ loop: any EventLoop) -> LoopExecutor {
        made.withLock { made in
            if let known = made[ObjectIdentifier(loop)] { return known }
            let executor = LoopExecutor(loop)
            made[ObjectIdentifier(loop)] = executor
            return executor
        }
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
