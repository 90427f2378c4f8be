/// Decides which link of a node counts: the one with the highest generation. A node raises its generation with every dial and
/// keeps it on disk, so an older number is a link that was forgotten in the network, or a copy of the node's state.
package struct LinkFence: Sendable, Equatable {
    package enum Decision: Sendable, Equatable {
        case accept
        /// The older link is cut; its streams fail with `unavailable`.
        case replace(generation: UInt64)
        case refuse(newest: UInt64)
    }

    private var newest: UInt64?
    private var active: UInt64?

    package init() {}

    package mutating func connected(generation: UInt64) -> Decision {
        if let newest, generation <= newest { return .refuse(newest: newest) }
        let replaced = active
        newest = generation
        active = generation
        return replaced.map { .replace(generation: $0) } ?? .accept
    }

    /// `true` when the node is offline now; a link that was replaced earlier changes nothing.
    package mutating func disconnected(generation: UInt64) -> Bool {
        guard active == generation else { return false }
        active = nil
        return true
    }
}
