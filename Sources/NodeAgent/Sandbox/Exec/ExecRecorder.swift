import Dispatch
import FastableCore
import Logging
import NIOCore
import NodeLinux
import Synchronization

/// Writes the records of ended execs, one batch after the other, and lets init forget those whose record is complete. What the
/// disk does not take is tried again, with growing pauses, until it does or the table is closed.
///
/// Readers do not wait for it: until a record is on disk, init has the result, and a restarted daemon gets it from there.
final class ExecRecorder: Sendable {
    private struct State {
        var waiting: [ExecSession] = []
        var isWorking = false
        var isClosed = false
        /// Who waits until there is nothing to do.
        var idle: [CheckedContinuation<Void, Never>] = []
        /// The next time that what has ended is put onto the disk itself.
        var save: Scheduled<Void>?
        /// The next attempt after one that failed, and the pause before the one after that.
        var retry: Scheduled<Void>?
        var pauseMilliseconds = Limits.execRecordRetryFirstMilliseconds

        /// `true` when there is something to do and nobody does it yet: the caller does.
        mutating func begin() -> Bool {
            guard !isWorking, !waiting.isEmpty else { return false }
            isWorking = true
            retry?.cancel()
            retry = nil
            return true
        }

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
    /// What `findOut` has under way.
    private let inquiries = DispatchGroup()

    init(store: ExecStore, registry: ExecRegistry, link: InitLink) {
        self.store = store
        self.registry = registry
        self.link = link
    }

    /// Results that the disk has refused and that are written again later.
    var refusedCount: Int { state.withLock { $0.retry == nil ? 0 : $0.waiting.count } }

    /// Call when an exec has ended, and whenever something about it changed after that.
    ///
    /// What ends in the same moment is written together, and after the answers to those who wait for these commands.
    func record(_ session: ExecSession) {
        let starts = state.withLock { state in
            state.waiting.append(session)
            return state.begin()
        }
        guard starts else { return }
        link.eventLoop.scheduleTask(in: .milliseconds(Int64(Limits.execRecordGatherMilliseconds))) {
            Task { await self.work() }
        }
    }

    /// Finds something out that blocks, and goes on with it on the event loop. `close` waits for that.
    func findOut<Value: Sendable>(
        _ find: @escaping @Sendable () -> Value, then: @escaping @Sendable (Value) -> Void
    ) {
        inquiries.enter()
        BlockingPool.shared.submit { [inquiries, link] in
            let value = find()
            link.eventLoop.execute {
                then(value)
                inquiries.leave()
            }
        }
    }

    /// Tries once more what waits, and returns when everything that was asked for has been tried. Nothing is tried again later.
    func close() async {
        await withCheckedContinuation { waiter in inquiries.notify(queue: .global()) { waiter.resume() } }
        stopRetrying()
        if state.withLock({ $0.begin() }) { await work() }
        await withCheckedContinuation { waiter in
            let isIdle = state.withLock { state -> Bool in
                if state.isWorking { state.idle.append(waiter) }
                return !state.isWorking
            }
            if isIdle { waiter.resume() }
        }
        _ = try? await BlockingPool.shared.run { self.save() }
    }

    func stopRetrying() {
        state.withLock { state in
            state.isClosed = true
            state.retry?.cancel()
            state.retry = nil
            state.save?.cancel()
            state.save = nil
        }
    }

    /// What has ended will be safe from a loss of power in a moment. Nobody waits for that.
    func saveSoon(milliseconds: Int = Limits.execResultsSaveMilliseconds) {
        guard store.hasUnsaved else { return }
        state.withLock { state in
            guard !state.isClosed, state.save == nil else { return }
            state.save = link.eventLoop.scheduleTask(in: .milliseconds(Int64(milliseconds))) { [weak self] in
                guard let self else { return }
                BlockingPool.shared.submit { self.saveAgain() }
            }
        }
    }

    private func saveAgain() {
        let isSaved = save()
        state.withLock { $0.save = nil }
        saveSoon(
            milliseconds: isSaved ? Limits.execResultsSaveMilliseconds : Limits.execRecordRetryLongestMilliseconds)
    }

    private func save() -> Bool {
        do { try store.save() } catch {
            link.logger.error("A loss of power would undo how commands ended: \(error)")
            return false
        }
        return true
    }

    private func work() async {
        while let batch = nextBatch() {
            let failed = await write(batch)
            saveSoon()
            if !failed.isEmpty { return giveUp(failed) }
            state.withLock { $0.pauseMilliseconds = Limits.execRecordRetryFirstMilliseconds }
        }
    }

    /// Those that the disk did not take.
    private func write(_ batch: [ExecSession]) async -> [ExecSession] {
        do {
            return try await BlockingPool.shared.run { batch.filter { !self.write($0) } }
        } catch { return batch }
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

    /// Without a record init keeps an exec.
    private func giveUp(_ failed: [ExecSession]) {
        let idle = state.withLock { state in
            state.waiting.insert(contentsOf: failed, at: 0)
            if !state.isClosed {
                state.retry = link.eventLoop.scheduleTask(in: .milliseconds(Int64(state.pauseMilliseconds))) {
                    [weak self] in self?.tryAgain()
                }
                state.pauseMilliseconds = min(2 * state.pauseMilliseconds, Limits.execRecordRetryLongestMilliseconds)
            }
            return state.rest()
        }
        for waiter in idle { waiter.resume() }
    }

    private func tryAgain() {
        if state.withLock({ $0.begin() }) { Task { await work() } }
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
