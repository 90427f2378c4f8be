import NIOCore
import Synchronization

/// The listener's connections, so that it can bound them and close them.
final class LinkBook<Identity: Sendable>: Sendable {
    typealias Arrival = LinkListener<Identity>.Arrival

    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var links: [ObjectIdentifier: MuxConnection] = [:]
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let arrivals: AsyncStream<Arrival>.Continuation

    private let limit: Int

    init(arrivals: AsyncStream<Arrival>.Continuation, limit: Int) {
        self.arrivals = arrivals
        self.limit = limit
    }

    var count: Int { state.withLock { $0.channels.count } }

    /// Counts a new connection in; `false` when there is no room.
    func enter(_ channel: any Channel) -> Bool {
        let hasRoom = state.withLock { state in
            guard !state.isClosed, state.channels.count < limit else { return false }
            state.channels[ObjectIdentifier(channel)] = channel
            return true
        }
        if hasRoom { channel.closeFuture.whenComplete { _ in self.leave(channel) } }
        return hasRoom
    }

    func upgrade(_ channel: any Channel, _ arrival: Arrival) {
        let isOpen = state.withLock { state in
            guard !state.isClosed else { return false }
            state.links[ObjectIdentifier(channel)] = arrival.connection
            return true
        }
        if isOpen {
            arrivals.yield(arrival)
        } else {
            arrival.connection.close(reason: Self.closingReason)
        }
    }

    /// Lets nobody in any more; says goodbye to the links, cuts the handshakes.
    func close() {
        let (links, handshakes) = state.withLock { state in
            state.isClosed = true
            let handshakes = state.channels.filter { state.links[$0.key] == nil }
            return (Array(state.links.values), Array(handshakes.values))
        }
        arrivals.finish()
        for link in links { link.close(reason: Self.closingReason) }
        for channel in handshakes { channel.close(promise: nil) }
    }

    func waitUntilEmpty() async {
        await withCheckedContinuation { waiter in
            let isEmpty = state.withLock { state in
                if !state.channels.isEmpty { state.waiters.append(waiter) }
                return state.channels.isEmpty
            }
            if isEmpty { waiter.resume() }
        }
    }

    private func leave(_ channel: any Channel) {
        let waiters = state.withLock { state in
            state.channels[ObjectIdentifier(channel)] = nil
            state.links[ObjectIdentifier(channel)] = nil
            guard state.channels.isEmpty else { return [CheckedContinuation<Void, Never>]() }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    private static var closingReason: String { "The controller is shutting down." }
}
