import FastableCore
import Synchronization

/// Where containers wait for their turn to be started. Performs what `StartQueue` decides.
final class StartLine: Sendable {
    private struct State {
        var queue: StartQueue
        var waiting: [ContainerID: CheckedContinuation<Void, any Error>] = [:]
        var isLooking = false
    }

    private struct Settled {
        var waiter: CheckedContinuation<Void, any Error>?
        var result: Result<Void, any Error>
    }

    private let state: Mutex<State>
    private let availableBytes: @Sendable () -> Int?

    init(atOnce: Int, perMinute: Int, availableBytes: @escaping @Sendable () -> Int?) {
        state = Mutex(State(queue: StartQueue(atOnce: atOnce, perMinute: perMinute)))
        self.availableBytes = availableBytes
    }

    var load: StartLoad {
        state.withLock { StartLoad(running: $0.queue.runningCount, waiting: $0.queue.waitingCount) }
    }

    /// Where a container waits; `nil` when it does not.
    func place(of container: ContainerID) -> StartPlace? {
        state.withLock { $0.queue.place(of: container, now: .now) }
    }

    /// Returns when it is the container's turn; it must leave then. Throws what the queue says, and `CancellationError` when the task
    /// is cancelled before that.
    func enter(_ wish: StartQueue.Wish) async throws {
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { wait(for: wish, $0) }
            } onCancel: {
                let waiter = state.withLock { $0.waiting.removeValue(forKey: wish.container) }
                waiter?.resume(throwing: CancellationError())
            }
        } catch {
            leave(wish.container)
            throw error
        }
    }

    private func wait(for wish: StartQueue.Wish, _ waiter: CheckedContinuation<Void, any Error>) {
        var isCancelled = false
        change { state, available, now in
            // Asked under the lock: a cancellation before this is seen here, a later one finds the waiter.
            isCancelled = Task.isCancelled
            guard !isCancelled else { return [] }
            state.waiting[wish.container] = waiter
            return state.queue.arrive(wish, availableBytes: available, now: now)
        }
        if isCancelled { waiter.resume(throwing: CancellationError()) }
    }

    /// Its start has ended.
    func leave(_ container: ContainerID) {
        change { $0.queue.leave(container, availableBytes: $1, now: $2) }
    }

    /// One event, and what follows from it.
    private func change(
        _ event: (inout State, _ availableBytes: Int?, _ now: ContinuousClock.Instant) -> [StartQueue.Action]
    ) {
        let available = availableBytes()
        let (settled, looks) = state.withLock { state in
            let settled = event(&state, available, .now).map { action -> Settled in
                switch action {
                case .start(let id): Settled(waiter: state.waiting.removeValue(forKey: id), result: .success(()))
                case .refuse(let id, let error):
                    Settled(waiter: state.waiting.removeValue(forKey: id), result: .failure(error))
                }
            }
            let looks = state.queue.waitingCount > 0 && !state.isLooking
            if looks { state.isLooking = true }
            return (settled, looks)
        }
        for one in settled { one.waiter?.resume(with: one.result) }
        if looks { lookLater() }
    }

    /// While somebody waits the time and the host's memory are looked at again and again.
    private func lookLater() {
        Task {
            try? await Task.sleep(for: .milliseconds(Limits.startLookMilliseconds))
            change { state, available, now in
                state.isLooking = false
                return state.queue.look(availableBytes: available, now: now)
            }
        }
    }
}
