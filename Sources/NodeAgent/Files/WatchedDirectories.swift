/// The watched directories below a top, by the numbers of their watches. They are a tree, so that a move costs the way to its
/// place and no more, whatever is below the directory.
package struct WatchedDirectories {
    private struct Node {
        /// `nil` without a place.
        var parent: CInt?
        var name: [UInt8] = []
        var children: [[UInt8]: CInt] = [:]
    }

    private let top: CInt
    private var nodes: [CInt: Node]
    /// Others took the places of these, which are still there.
    private var displaced: Set<CInt> = []

    private static let slash = UInt8(ascii: "/")

    package init(top: CInt) {
        self.top = top
        nodes = [top: Node()]
    }

    /// With those that have no place any more.
    package var count: Int { nodes.count }

    /// Whether one lost its place to another, and neither ended nor turned up elsewhere.
    package var hasDisplaced: Bool { !displaced.isEmpty }

    package func contains(_ watch: CInt) -> Bool { nodes[watch] != nil }

    /// Below the top, which is empty; `nil` for what is not known or has no place.
    package func path(of watch: CInt) -> [UInt8]? {
        var parts: [[UInt8]] = []
        var current = watch
        while current != top {
            guard let node = nodes[current], let parent = node.parent else { return nil }
            parts.append(node.name)
            current = parent
        }
        return Array(parts.reversed().joined(separator: [Self.slash]))
    }

    /// The watch whose place this is.
    package func watch(at path: [UInt8]) -> CInt? {
        var current = top
        for part in path.split(separator: Self.slash) {
            guard let next = nodes[current]?.children[Array(part)] else { return nil }
            current = next
        }
        return current
    }

    /// Gives a watch a place, and with it all that is below. Whatever had that place has none any more.
    ///
    /// - Returns: `false`, and nothing is changed, when the directory of that place is not known, or lies in this one.
    package mutating func put(_ watch: CInt, at path: [UInt8]) -> Bool {
        guard watch != top, !path.isEmpty else { return watch == top && path.isEmpty }
        let slash = path.lastIndex(of: Self.slash)
        let name = Array(path[(slash.map { $0 + 1 } ?? 0)...])
        guard let parent = self.watch(at: Array(path[..<(slash ?? 0)])), !isIn(watch, parent) else { return false }
        let other = nodes[parent]?.children[name]
        guard other != watch else { return true }
        if let other {
            nodes[other]?.parent = nil
            displaced.insert(other)
        }
        detach(watch)
        displaced.remove(watch)
        nodes[watch, default: Node()].parent = parent
        nodes[watch, default: Node()].name = name
        nodes[parent]?.children[name] = watch
        return true
    }

    /// Forgets a directory and all below it; gives their watches.
    package mutating func remove(_ watch: CInt) -> [CInt] {
        detach(watch)
        var removed: [CInt] = []
        var rest = [watch]
        while let next = rest.popLast() {
            guard let node = nodes.removeValue(forKey: next) else { continue }
            displaced.remove(next)
            removed.append(next)
            rest += node.children.values
        }
        return removed
    }

    private func isIn(_ directory: CInt, _ watch: CInt) -> Bool {
        var current: CInt? = watch
        while let next = current {
            if next == directory { return true }
            current = nodes[next]?.parent
        }
        return false
    }

    private mutating func detach(_ watch: CInt) {
        guard let node = nodes[watch], let parent = node.parent else { return }
        nodes[parent]?.children[node.name] = nil
        nodes[watch]?.parent = nil
    }
}
