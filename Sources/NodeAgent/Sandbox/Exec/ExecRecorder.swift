import FastableCore
import Logging
import NodeLinux
import Synchronization

/// Writes the records of ended execs, one batch after the other, and lets init forget those whose record is complete.
///
/// Readers do not wait for it: until a record is on disk, init has the result, and a restarted daemon gets it from there.
final class ExecRecorder: Sendable {
    private struct State {
        var waiting: [ExecSession] = []
        var isWorking = false
        /// Who waits until there is nothing to do.
        var idle: [CheckedContinuation<Void, Never>] = []

        mutating func rest() -> [CheckedContinuation<Void, Never>] {
            isWorking = false
            defer { idle = [] }
            return idle
        }
    }

    private let store: ExecStore
    private let registry: ExecRegistry
    private let link: InitLink
    private let state = Mutex(State())

    init(store: ExecStore, registry: ExecRegistry, link: InitLink) {
        self.store = store
        self.registry = registry
        self.link = link
    }

    /// Call when an exec has ended, and whenever something about it changed after that.
    func record(_ session: ExecSession) {
        let starts = state.withLock { state -> Bool in
            state.waiting.append(session)
            defer { state.isWorking = true }
            return !state.isWorking
        }
        if starts { Task { await work() } }
    }

    /// Returns when everything that was asked for has been tried.
    func finish() async {
        await withCheckedContinuation { waiter in
            let isIdle = state.withLock { state -> Bool in
                if state.isWorking { state.idle.append(waiter) }
                return !state.isWorking
            }
            if isIdle { waiter.resume() }
        }
    }

    private func work() async {
        while let batch = nextBatch() {
            let failed = try? await BlockingPool.shared.run { batch.filter { !self.write($0) } }
            if let failed, !failed.isEmpty { return giveUp(failed) }
        }
    }

    private func nextBatch() -> [ExecSession]? {
        let (batch, idle) = state.withLock { state -> ([ExecSession], [CheckedContinuation<Void, Never>]) in
            guard state.waiting.isEmpty else {
                defer { state.waiting = [] }
                return (state.waiting, [])
            }
            return ([], state.rest())
        }
        for waiter in idle { waiter.resume() }
        return batch.isEmpty ? nil : batch
    }

    /// Without a record init keeps an exec; the next one that ends brings another attempt.
    private func giveUp(_ failed: [ExecSession]) {
        let idle = state.withLock { state in
            state.waiting.insert(contentsOf: failed, at: 0)
            return state.rest()
        }
        for waiter in idle { waiter.resume() }
    }

    /// `false` when the disk did not take it.
    private func write(_ session: ExecSession) -> Bool {
        guard let record = session.record, registry[session.exec] === session else { return true }
        do { try store.write(record) } catch {
            link.logger.error("The result of \(session.exec) cannot be stored: \(error)")
            return false
        }
        if record.isComplete {
            registry.remove(session)
            link.send(InitRequest.release(session.number))
        }
        return true
    }
}
