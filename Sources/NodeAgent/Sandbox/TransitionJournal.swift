public import FastableCore
import FoundationEssentials
import Synchronization

/// Changes of containers' states that the controller has not confirmed yet. It outlives links, not the daemon: what a new run of the
/// daemon finds changed, it tells itself.
public final class TransitionJournal: Sendable {
    private struct State {
        var waiting: [ContainerTransition] = []
        var lastNumber: Int64 = 0
        var listener: (@Sendable () -> Void)?
    }

    private let journal = RequestID().description
    private let state = Mutex(State())

    public init() {}

    func record(
        _ project: ProjectID, _ container: ContainerID?, from: ContainerState, to: ContainerState, reason: String,
        at now: Date = Date()
    ) {
        let listener = state.withLock { state in
            state.lastNumber += 1
            state.waiting.append(
                ContainerTransition(
                    number: state.lastNumber, project: project, container: container, from: from, to: to,
                    reason: String(reason.prefix(Limits.reportReasonCharacters)), at: now))
            // A controller that stays away costs the oldest of them; the missing numbers show it.
            if state.waiting.count > Limits.transitionsKept { state.waiting.removeFirst() }
            return state.listener
        }
        listener?()
    }

    /// The oldest that wait; `nil` when none does.
    public func batch() -> TransitionBatch? {
        let first = state.withLock { Array($0.waiting.prefix(Limits.transitionsPerBatch)) }
        return first.isEmpty ? nil : TransitionBatch(journal: journal, transitions: first)
    }

    /// The controller has kept all up to a number.
    public func confirm(upTo number: Int64) {
        state.withLock { state in state.waiting.removeAll { $0.number <= number } }
    }

    /// Who is told that something waits. One at a time: the link.
    public func listen(_ listener: (@Sendable () -> Void)?) { state.withLock { $0.listener = listener } }
}
