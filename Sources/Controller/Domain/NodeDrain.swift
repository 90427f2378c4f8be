public import FastableCore
public import FoundationEssentials

/// The wish that a node gives all its projects to others. It stands until none is left, or until somebody takes it back.
public struct NodeDrain: Codable, Sendable, Equatable {
    public var startedAt: Date
    /// What works in containers may go on until then; for as long as it likes when it is `nil`.
    public var deadline: Date?
    /// How many projects the node had when it began.
    public var projects: Int
    /// These go on from their last snapshot when what they have cannot be saved.
    public var forced: [ProjectID]?

    public init(startedAt: Date, deadline: Date?, projects: Int, forced: [ProjectID]? = nil) {
        self.forced = forced
        self.startedAt = startedAt
        self.deadline = deadline
        self.projects = projects
    }

    /// Whether what works is not waited for any more.
    public func isUrgent(at now: Date) -> Bool { deadline.map { $0 <= now } ?? false }
}

/// Which projects of a draining node are moved next. Pure.
public enum DrainSchedule {
    public struct Item: Sendable, Equatable {
        public var project: ProjectID
        public var isUnderWay: Bool
        /// What waits or has failed is not tried again before this.
        public var retryAt: ContinuousClock.Instant?

        public init(_ project: ProjectID, isUnderWay: Bool = false, retryAt: ContinuousClock.Instant? = nil) {
            self.project = project
            self.isUnderWay = isUnderWay
            self.retryAt = retryAt
        }
    }

    /// As many as there are places for: those that were not tried yet before the others, and of these the one that has waited longest.
    public static func due(_ items: [Item], places: Int, now: ContinuousClock.Instant) -> [ProjectID] {
        let free = places - items.count(where: \.isUnderWay)
        let ready = items.filter { !$0.isUnderWay && ($0.retryAt.map { $0 <= now } ?? true) }
        let sorted = ready.sorted { left, right in
            switch (left.retryAt, right.retryAt) {
            case (nil, .some): true
            case (.some, nil): false
            case (let mine?, let other?) where mine != other: mine < other
            default: left.project < right.project
            }
        }
        return sorted.prefix(max(0, free)).map(\.project)
    }
}
