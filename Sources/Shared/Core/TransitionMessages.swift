public import FoundationEssentials

/// One change of a container's state, as its node saw it.
public struct ContainerTransition: Codable, Sendable, Equatable {
    /// Counts up within a journal, from 1; a number that is left out was lost.
    public var number: Int64
    public var project: ProjectID
    /// The incarnation that it is about; `nil` when there is none.
    public var container: ContainerID?
    public var from: ContainerState
    public var to: ContainerState
    /// Why, for people.
    public var reason: String
    public var at: Date
    /// The node's daemon found it so at its start: `to` is how it is, and `from` what the record on its disk says. It is news only to
    /// those who were told something else last.
    public var isFound: Bool
    /// Present when its state did not change, and it came to a limit.
    public var limit: LimitTally?
    /// Present when its state did not change yet: it becomes `to` then, unless something happens before.
    public var due: Date?

    public init(
        number: Int64, project: ProjectID, container: ContainerID?, from: ContainerState, to: ContainerState,
        reason: String, at: Date, isFound: Bool = false, limit: LimitTally? = nil, due: Date? = nil
    ) {
        self.due = due
        self.limit = limit
        self.number = number
        self.project = project
        self.container = container
        self.from = from
        self.to = to
        self.reason = Self.cut(reason)
        self.at = at
        self.isFound = isFound
    }

    /// By scalars: one character may have any number of them, and a batch must fit into a message.
    static func cut(_ reason: String) -> String {
        String(String.UnicodeScalarView(reason.unicodeScalars.prefix(Limits.reportReasonCharacters)))
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

    /// The same batch with reasons of the usual length. Throws `invalid` for what no node sends.
    public func validated() throws -> TransitionBatch {
        let numbers = transitions.map(\.number)
        guard (1...Limits.nameBytes).contains(journal.utf8.count), numbers.count <= Limits.transitionsPerBatch,
            numbers.allSatisfy({ (1...Self.highestNumber).contains($0) }),
            zip(numbers, numbers.dropFirst()).allSatisfy({ $0 < $1 })
        else { throw FastableError(.invalid, "These changes of containers cannot be taken: their numbers are wrong.") }
        var batch = self
        for index in batch.transitions.indices {
            let change = batch.transitions[index]
            batch.transitions[index].reason = ContainerTransition.cut(change.reason)
            batch.transitions[index].limit?.hit.process = change.limit?.hit.process.map(ContainerTransition.cut)
        }
        return batch
    }

    /// No node gets there, and sums with it do not overflow.
    private static let highestNumber: Int64 = 1 << 53
}
