public import ControllerDomain
import ControllerStore
import FastableCore
import ServiceLifecycle

/// Events as they come. May be iterated once.
public struct EventFeed: AsyncSequence, Sendable {
    public enum Element: Sendable, Equatable {
        /// What lies before this place is no longer kept, or was never there: look at everything again.
        case lost(before: Int64)
        case events([StoredEvent])
        /// Nothing up to here is for this reader, who may go on behind it. The first element is this one unless there is another: it
        /// tells where the feed begins.
        case passed(Int64)
    }

    let store: any Store
    let filter: EventFilter
    let start: Int64
    /// `nil` ends the feed with what there is.
    let signals: AsyncStream<Void>?
    /// Given back when nobody reads any more.
    let hold: AttachmentLimit.Place

    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    public struct Iterator: AsyncIteratorProtocol {
        private let feed: EventFeed
        private var signals: AsyncStream<Void>.Iterator?
        private var place: Int64
        private var told: Int64
        private var hasBegun = false

        init(_ feed: EventFeed) {
            self.feed = feed
            signals = feed.signals?.makeAsyncIterator()
            place = feed.start
            told = feed.start
        }

        /// `nil` when the feed's time is over, and when the program stops.
        public mutating func next() async throws -> Element? {
            while true {
                try Task.checkCancellation()
                let page = try await feed.store.events(feed.filter, after: place, limit: Limits.pageRows)
                if let gap = page.range.gap(behind: place) {
                    place = gap - 1
                    told = place
                    return .lost(before: gap)
                }
                place = page.last
                if let element = element(page) {
                    told = place
                    hasBegun = true
                    return element
                }
                guard page.isLast else { continue }
                guard await signals?.next() != nil else { return nil }
            }
        }

        private func element(_ page: EventPage) -> Element? {
            guard page.events.isEmpty else { return .events(page.events) }
            return place - told >= Limits.eventsBetweenPlaces || !hasBegun ? .passed(place) : nil
        }
    }
}

extension AsyncStream<Void> {
    /// The same signals until a time is over or the program stops; then it ends.
    func ending(after time: Duration) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let pump = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await _ in self { continuation.yield() } }
                group.addTask { _ = try? await cancelWhenGracefulShutdown { try await Task.sleep(for: time) } }
                await group.next()
                group.cancelAll()
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in pump.cancel() }
        return stream
    }
}
