import FastableCore
import NodeLinux
import Synchronization

/// Images that come from registries: one pull for each name, which all share who need it, and some at a time.
///
/// A pull for a container goes on when nobody waits for it any more: whoever gave up after a minute comes back, and would never have a
/// large image if each time began at nothing. It ends by its own deadline, and an image that nobody uses is dropped when space is
/// needed. One that has not begun, and one that somebody asked for by name, ends with the last who waits.
final class ImagePulls: Sendable {
    private struct Pull {
        var progress: StartProgress
        var waiters: [Int: CheckedContinuation<Void, any Error>] = [:]
        var outlivesWaiters: Bool
        var hasBegun = false
        var ending: Ending?
        var task: Task<Void, Never>?

        var isUnwanted: Bool { waiters.isEmpty && !(outlivesWaiters && hasBegun) }
    }

    private enum Ending { case unwanted, overdue }
    /// The pull that was joined had been given up before.
    private struct GivenUp: Error {}

    private struct State {
        var pulls: [String: Pull] = [:]
        var lastWaiter = 0

        mutating func end(_ name: String, _ ending: Ending) {
            guard pulls[name]?.ending == nil else { return }
            pulls[name]?.ending = ending
            pulls[name]?.task?.cancel()
        }
    }

    private let state = Mutex(State())
    private let turns = Turns(Limits.imagePullsAtOnce)
    private let timeout: Duration

    init(timeout: Duration = .seconds(Limits.imageAddSeconds)) { self.timeout = timeout }

    /// How far the pull of an image is; `nil` when there is none.
    func progress(of name: String) -> StartProgress? { state.withLock { $0.pulls[name]?.progress } }

    func note(_ progress: StartProgress, of name: String) {
        state.withLock { $0.pulls[name]?.progress = progress }
    }

    /// Returns when the pull of this name has ended well, which begins unless there is one.
    ///
    /// - Parameter outlivesWaiters: it goes on when nobody waits any more.
    /// - Returns: whether it was this `work` that was done.
    @discardableResult
    func join(
        _ name: String, outlivesWaiters: Bool, _ work: @escaping @Sendable () async throws -> Void
    ) async throws -> Bool {
        let waiter = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        while true {
            let isOurs = Mutex(false)
            do {
                try await withTaskCancellationHandler {
                    try await withCheckedThrowingContinuation { continuation in
                        isOurs.withLock { $0 = enter(waiter, name, outlivesWaiters, continuation, work) }
                    }
                } onCancel: {
                    leave(waiter, name)
                }
                return isOurs.withLock { $0 }
            } catch is GivenUp {}
        }
    }

    private func enter(
        _ waiter: Int, _ name: String, _ outlivesWaiters: Bool, _ continuation: CheckedContinuation<Void, any Error>,
        _ work: @escaping @Sendable () async throws -> Void
    ) -> Bool {
        enum Entry { case begun, joined, cancelled }
        let entry = state.withLock { state -> Entry in
            // Asked under the lock: a cancellation before this is seen here, a later one finds the waiter.
            guard !Task.isCancelled else { return .cancelled }
            let isNew = state.pulls[name] == nil
            let waiting = StartProgress(
                .waiting, "The image ‘\(name)’ waits for its turn to be pulled: others are pulled now.")
            var pull = state.pulls[name] ?? Pull(progress: waiting, outlivesWaiters: outlivesWaiters)
            pull.waiters[waiter] = continuation
            pull.outlivesWaiters = pull.outlivesWaiters || outlivesWaiters
            if isNew { pull.task = Task { await self.perform(name, work) } }
            state.pulls[name] = pull
            return isNew ? .begun : .joined
        }
        if entry == .cancelled { continuation.resume(throwing: CancellationError()) }
        return entry == .begun
    }

    private func leave(_ waiter: Int, _ name: String) {
        let continuation = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            guard let continuation = state.pulls[name]?.waiters.removeValue(forKey: waiter) else { return nil }
            if state.pulls[name]?.isUnwanted == true { state.end(name, .unwanted) }
            return continuation
        }
        continuation?.resume(throwing: CancellationError())
    }

    private func perform(_ name: String, _ work: @Sendable () async throws -> Void) async {
        let timer = Task {
            try await Task.sleep(for: timeout)
            state.withLock { $0.end(name, .overdue) }
        }
        defer { timer.cancel() }
        await turns.take()
        defer { turns.giveBack() }
        do {
            try Task.checkCancellation()
            state.withLock { $0.pulls[name]?.hasBegun = true }
            try await work()
            ended(name, nil)
        } catch {
            ended(name, error)
        }
    }

    private func ended(_ name: String, _ failure: (any Error)?) {
        guard let pull = state.withLock({ $0.pulls.removeValue(forKey: name) }) else { return }
        let error: (any Error)? =
            switch (failure, pull.ending) {
            case (nil, _): nil
            case (let failure?, nil): failure
            case (_, .unwanted): GivenUp()
            case (_, .overdue):
                FastableError(
                    .timeout,
                    "The image ‘\(name)’ did not come within \(timeout.components.seconds) seconds, and the pull was given up. Try "
                        + "again, or add it with ‘fastable image add’.")
            }
        for waiter in pull.waiters.values { waiter.resume(with: error.map { Result.failure($0) } ?? .success(())) }
    }
}
