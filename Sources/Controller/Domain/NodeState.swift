import FastableCore

/// A node's condition in one word.
public enum NodeState: String, Codable, Sendable, CaseIterable {
    case ready
    /// Keeps its projects and gets no new ones.
    case cordoned
    /// Gets no new projects, and gives those that it has to others.
    case draining
    /// Without a link.
    case offline
    /// Without a link for longer than its limit: each workspace decides what becomes of its projects there.
    case lost
    case removed
}

/// Which condition a node is in, as time passes. Pure.
///
/// Time is that of a clock that nobody sets, and counts from the moment at which this program saw the link missing: never too early.
public struct NodeStateMachine: Sendable, Equatable {
    public typealias Instant = ContinuousClock.Instant

    /// What operators want of it.
    public enum Wish: Sendable, Equatable, CaseIterable { case ready, cordoned, draining, removed }

    public enum Link: Sendable, Equatable {
        case up
        /// This program has just started: the node had no time to dial yet, and nothing is told of that.
        case awaited(since: Instant)
        case down(since: Instant)
        case lost
    }

    public enum Event: Sendable, Equatable {
        /// Somebody looked whether there is a link.
        case looked(isLinked: Bool)
        case wished(Wish)
    }

    public struct Times: Sendable, Equatable {
        /// So long nothing is told of a node that does not come back after a start of this program.
        public var patience: Duration
        public var lostAfter: Duration

        public init(patience: Duration, lostAfter: Duration) {
            self.patience = patience
            self.lostAfter = lostAfter
        }
    }

    /// What is to be stored and told.
    public struct Change: Sendable, Equatable {
        public var from: NodeState
        public var to: NodeState

        public init(from: NodeState, to: NodeState) {
            self.from = from
            self.to = to
        }
    }

    public private(set) var wish: Wish
    public private(set) var link: Link
    /// What was told last.
    public private(set) var told: NodeState

    /// - Parameter told: what an earlier run told last; a node that was lost is lost until it is back.
    public init(_ wish: Wish, told: NodeState, now: Instant) {
        self.wish = wish
        self.told = told
        link = told == .lost ? .lost : .awaited(since: now)
    }

    public var state: NodeState {
        switch (wish, link) {
        case (.removed, _): .removed
        case (_, .lost): .lost
        case (_, .awaited), (_, .down): .offline
        case (.ready, .up): .ready
        case (.cordoned, .up): .cordoned
        case (.draining, .up): .draining
        }
    }

    public mutating func handle(_ event: Event, _ times: Times, now: Instant) -> Change? {
        switch event {
        // What was removed does not come back: its host joins as another node.
        case .wished(let wish): if self.wish != .removed { self.wish = wish }
        case .looked(isLinked: true): link = .up
        case .looked(isLinked: false): link = withoutLink(times, now)
        }
        if case .awaited = link, wish != .removed { return nil }
        guard state != told else { return nil }
        defer { told = state }
        return Change(from: told, to: state)
    }

    /// A change could not be stored: it is told again with the next look.
    public mutating func wasNotTold(_ change: Change) { told = change.from }

    private func withoutLink(_ times: Times, _ now: Instant) -> Link {
        switch link {
        case .up: return .down(since: now)
        case .lost: return .lost
        case .awaited(let since), .down(let since):
            if now - since >= times.lostAfter { return .lost }
            if case .awaited = link, now - since < times.patience { return link }
            return .down(since: since)
        }
    }
}
