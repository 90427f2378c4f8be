/// The values that came last, a limited number of them: the first one is forgotten first. For ids that are never used again.
public struct RecentSet<Element: Hashable & Sendable>: Sendable {
    private var elements: Set<Element> = []
    private var order: [Element] = []
    private let limit: Int

    public init(limit: Int) { self.limit = limit }

    public func contains(_ element: Element) -> Bool { elements.contains(element) }

    public mutating func insert(_ element: Element) {
        guard elements.insert(element).inserted else { return }
        order.append(element)
        if order.count > limit { elements.remove(order.removeFirst()) }
    }
}
