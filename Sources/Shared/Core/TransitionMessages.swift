public import FoundationEssentials

/// One change of a container's state, as its node saw it.
public struct ContainerTransition: Codable, Sendable, Equatable {
    /// Counts up within a journal, from 1, without gaps but for those that were lost.
    public var number: Int64
    public var project: ProjectID
    /// The incarnation that it is about; `nil` when there is none.
    public var container: ContainerID?
    public var from: ContainerState
    public var to: ContainerState
    /// Why, for people.
    public var reason: String
    public var at: Date

    public init(
        number: Int64, project: ProjectID, container: ContainerID?, from: ContainerState, to: ContainerState,
        reason: String, at: Date
    ) {
        self.number = number
        self.project = project
        self.container = container
        self.from = from
        self.to = to
        self.reason = reason
        self.at = at
    }
}

/// Changes that the controller has not confirmed yet, oldest first. Sent again until it has.
public struct TransitionBatch: Codable, Sendable, Equatable {
    /// Names one run of the node's daemon: numbers begin anew with each.
    public var journal: String
    public var transitions: [ContainerTransition]

    public init(journal: String, transitions: [ContainerTransition]) {
        self.journal = journal
        self.transitions = transitions
    }
}
