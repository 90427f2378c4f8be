import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// What happens, stored in order. Readers take it from the store: nobody who is slow or away misses any.
final class EventLog: Sendable {
    private let store: any Store
    private let logger: Logger

    init(store: any Store, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// Stores an event that has no other record. When it cannot be stored it is in the log only: what it tells of has happened.
    func publish(_ event: PlatformEvent) async {
        do {
            try await store.appendEvent(event)
        } catch {
            logger.error("An event could not be stored.", metadata: ["kind": "\(event.kind)", "error": "\(error)"])
        }
    }

    /// Stores what a node tells; it tells it again when this throws.
    func record(_ batch: TransitionBatch, of node: NodeID) async throws {
        try await store.recordTransitions(batch, of: node, at: .nowMilliseconds)
    }

    /// Events behind a place. When it follows, those of the future too, and without a place those from now on; otherwise all that is
    /// kept now.
    func feed(
        _ filter: EventFilter, after place: Int64?, follows: Bool, hold: AttachmentLimit.Place
    ) async throws -> EventFeed {
        // Before the store is asked, so that nothing falls between.
        let signals = follows ? store.eventSignals().ending(after: .seconds(Limits.eventStreamSeconds)) : nil
        let range = try await store.eventRange()
        let start = place ?? (follows ? range.newest : max(0, range.oldest - 1))
        return EventFeed(store: store, filter: filter, start: start, signals: signals, hold: hold)
    }
}
