package import NIOCore
import Synchronization

/// A bounded queue between a running operation and the response that carries its output.
///
/// The operation waits while more than `limit` bytes are queued, so a slow reader slows the command and nothing piles up in
/// memory. The reader takes everything that is there at once, so many small pieces become one write to the socket.
/// One reader; any number of senders.
package final class OutputQueue<Element: Sendable>: Sendable {
    package enum Batch: Sendable {
        /// At least one element, in the order they were sent.
        case elements([Element])
        /// Nothing came for as long as the reader was willing to wait.
        case quiet
        /// Everything was taken and the sender has finished.
        case finished
    }

    private struct State {
        var elements: [Element] = []
        var bytes = 0
        var isFinished = false
        var isAbandoned = false
        var reader: CheckedContinuation<Void, Never>?
        /// A wake-up that came while no reader waited; without it that signal would be lost.
        var readerWasWoken = false
        var senders: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextSender: UInt64 = 0
    }

    private let state = Mutex(State())
    private let limit: Int

    package init(limit: Int) { self.limit = limit }

    /// Adds an element, waiting while the queue is full. After `abandon` elements are dropped.
    /// Throws `CancellationError` when the sender's task is cancelled.
    package func send(_ element: Element, bytes: Int) async throws {
        while true {
            try Task.checkCancellation()
            let wasTaken = state.withLock { state in
                if state.isAbandoned { return true }
                guard state.bytes < limit else { return false }
                state.elements.append(element)
                state.bytes += bytes
                return true
            }
            guard !wasTaken else { break }
            await waitForSpace()
        }
        wakeReader()
    }

    /// The last element; it is taken even when the queue is full or the sender is cancelled.
    package func finish(with last: Element) {
        state.withLock { state in
            if !state.isAbandoned { state.elements.append(last) }
            state.isFinished = true
        }
        wakeReader()
    }

    /// The reader has gone: what is queued is dropped, and nobody waits for space any more.
    package func abandon() {
        let senders = state.withLock { state in
            state.isAbandoned = true
            state.elements = []
            state.bytes = 0
            defer { state.senders = [:] }
            return state.senders.values
        }
        for sender in senders { sender.resume() }
    }

    /// Everything that is queued.
    ///
    /// Waits until there is something and `earliest` has come; a full or finished queue is given before that. Gives `quiet` when
    /// nothing came within `patience` (`nil` waits for as long as it takes). Throws `CancellationError`.
    package func next(
        on loop: any EventLoop, notBefore earliest: NIODeadline? = nil, within patience: TimeAmount? = nil
    ) async throws -> Batch {
        let giveUp = patience.map { NIODeadline.now() + $0 }
        while true {
            try Task.checkCancellation()
            let now = NIODeadline.now()
            if let batch = take(isTooEarly: earliest.map { now < $0 } ?? false) { return batch }
            let holdsElements = state.withLock { !$0.elements.isEmpty }
            if let giveUp, now >= giveUp, !holdsElements { return .quiet }
            let wakeAt = holdsElements ? earliest : giveUp
            let timer = wakeAt.map { loop.scheduleTask(deadline: $0) { self.wakeReader() } }
            await waitForSignal()
            timer?.cancel()
        }
    }

    private func take(isTooEarly: Bool) -> Batch? {
        let (batch, senders) = state.withLock { state -> (Batch?, [CheckedContinuation<Void, Never>]) in
            if state.elements.isEmpty { return (state.isFinished ? .finished : nil, []) }
            if isTooEarly, !state.isFinished, state.bytes < limit { return (nil, []) }
            let elements = state.elements
            state.elements = []
            state.bytes = 0
            defer { state.senders = [:] }
            return (.elements(elements), Array(state.senders.values))
        }
        for sender in senders { sender.resume() }
        return batch
    }

    private func wakeReader() {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.readerWasWoken = state.reader == nil
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    private func waitForSignal() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    defer { state.readerWasWoken = false }
                    guard !state.readerWasWoken, !state.isFinished else { return true }
                    state.reader = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            wakeReader()
        }
    }

    private func waitForSpace() async {
        let number = state.withLock { state in
            defer { state.nextSender += 1 }
            return state.nextSender
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayGoOn = state.withLock { state in
                    guard state.bytes >= limit, !state.isAbandoned, !Task.isCancelled else { return true }
                    state.senders[number] = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
        } onCancel: {
            let sender = state.withLock { $0.senders.removeValue(forKey: number) }
            sender?.resume()
        }
    }
}
