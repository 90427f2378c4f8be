import ControllerDomain
import ControllerStore
public import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// What happens, stored in order and told to all who follow. Readers take it from the store: nobody who is slow or away misses any.
public final class EventLog: Sendable {
    private struct State {
        var listeners: [Int: AsyncStream<Void>.Continuation] = [:]
        var lastListener = 0
    }

    private let store: any Store
    private let logger: Logger
    private let state = Mutex(State())

    init(store: any Store, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// Stores an event. One that cannot be stored is in the log only: what it tells of has happened.
    func publish(_ event: PlatformEvent) async {
        do {
            try await store.appendEvent(event)
            notify()
        } catch {
            logger.error("An event could not be stored.", metadata: ["kind": "\(event.kind)", "error": "\(error)"])
        }
    }

    /// Stores what a node tells; it tells it again when this throws.
    func record(_ batch: TransitionBatch, of node: NodeID) async throws {
        if try await store.recordTransitions(batch, of: node) > 0 { notify() }
    }

    private func notify() {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener.yield() }
    }

    /// A signal after each new event; several may become one.
    func signals() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.lastListener += 1
            state.listeners[state.lastListener] = continuation
            return state.lastListener
        }
        continuation.onTermination = { [weak self] _ in self?.forget(number) }
        return stream
    }

    private func forget(_ number: Int) { state.withLock { _ = $0.listeners.removeValue(forKey: number) } }

    /// Events behind a place, those of the future included; without a place, those from now on.
    func follow(_ filter: EventFilter, after place: Int64?, until end: ContinuousClock.Instant) async throws -> EventFeed {
        // Before the store is asked, so that nothing falls between.
        let signals = signals()
        let range = try await store.eventRange()
        let start = place ?? range.newest
        let isPruned = start < range.oldest - 1
        // Behind the newest one lies nothing that was ever given out: another database, or a mistake.
        let isUnknown = start > range.newest
        return EventFeed(
            store: store, filter: filter, start: isUnknown ? range.newest : start,
            lost: isPruned || isUnknown ? range : nil, signals: signals, end: end)
    }
}

/// Events as they come. May be iterated once.
public struct EventFeed: AsyncSequence, Sendable {
    public enum Element: Sendable, Equatable {
        /// What lies before this place is no longer kept, or was never there: look at everything again.
        case lost(before: Int64)
        case events([StoredEvent])
    }

    let store: any Store
    let filter: EventFilter
    let start: Int64
    let lost: EventRange?
    let signals: AsyncStream<Void>
    let end: ContinuousClock.Instant

    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    public struct Iterator: AsyncIteratorProtocol {
        private let feed: EventFeed
        private var signals: AsyncStream<Void>.Iterator
        private var place: Int64
        private var isLossTold = false

        init(_ feed: EventFeed) {
            self.feed = feed
            signals = feed.signals.makeAsyncIterator()
            place = feed.start
        }

        /// `nil` when the stream's time is over.
        public mutating func next() async throws -> Element? {
            if let lost = feed.lost, !isLossTold {
                isLossTold = true
                return .lost(before: lost.oldest)
            }
            while ContinuousClock.now < feed.end {
                let page = try await feed.store.events(feed.filter, after: place, limit: Limits.pageRows)
                place = page.last
                if !page.events.isEmpty { return .events(page.events) }
                if page.isLast, await signals.next() == nil { return nil }
            }
            return nil
        }
    }
}
