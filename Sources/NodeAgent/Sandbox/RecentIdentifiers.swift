/// Identifiers for which something has ended for good lately: deleted projects, ended commands. Ids are never used again, so a
/// call that still brings one was under way at that time, and must not bring anything back.
package struct RecentIdentifiers<Identifier: Hashable & Sendable>: Sendable {
    private var identifiers: Set<Identifier> = []
    /// The first one is forgotten first.
    private var order: [Identifier] = []
    private let limit: Int

    package init(limit: Int) { self.limit = limit }

    package func contains(_ identifier: Identifier) -> Bool { identifiers.contains(identifier) }

    package mutating func insert(_ identifier: Identifier) {
        guard identifiers.insert(identifier).inserted else { return }
        order.append(identifier)
        if order.count > limit { identifiers.remove(order.removeFirst()) }
    }
}
