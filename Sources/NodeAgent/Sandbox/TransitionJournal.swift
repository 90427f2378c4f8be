import DequeModule
package import FastableCore
package import FoundationEssentials
import Synchronization

/// Changes of containers' states that the controller has not confirmed yet. It outlives links, not the daemon: a new run of the daemon
/// tells how it found each container, and the controller knows what it was told last.
public final class TransitionJournal: Sendable {
    private struct State {
        var waiting: Deque<ContainerTransition> = []
        var lastNumber: Int64 = 0
        var listeners: [Int: AsyncStream<Void>.Continuation] = [:]
        var lastListener = 0
    }

    private let name = RequestID().description
    private let state = Mutex(State())

    public init() {}

    /// - Parameters:
    ///   - isFound: it was not seen to change, see `ContainerTransition`.
    ///   - limit: it came to this limit, and is in the state that it was in.
    ///   - due: it is in the state that it was in, and will change then.
    package func record(
        _ project: ProjectID, _ container: ContainerID?, from: ContainerState, to: ContainerState, reason: String,
        isFound: Bool = false, limit: LimitTally? = nil, due: Date? = nil
    ) {
        let listeners = state.withLock { state in
            state.lastNumber += 1
            state.waiting.append(
                ContainerTransition(
                    number: state.lastNumber, project: project, container: container, from: from, to: to,
                    reason: reason, at: Date(), isFound: isFound, limit: limit, due: due))
            // A controller that stays away costs the oldest of them; the missing numbers tell it.
            if state.waiting.count > Limits.transitionsKept { state.waiting.removeFirst() }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.yield() }
    }

    /// The oldest that wait; `nil` when none does.
    package func batch() -> TransitionBatch? {
        let first = state.withLock { Array($0.waiting.prefix(Limits.transitionsPerBatch)) }
        return first.isEmpty ? nil : TransitionBatch(journal: name, transitions: first)
    }

    /// The controller has kept all of a batch.
    package func confirm(_ batch: TransitionBatch) {
        guard let last = batch.transitions.last?.number else { return }
        state.withLock { state in
            while let first = state.waiting.first, first.number <= last { state.waiting.removeFirst() }
        }
    }

    /// A signal after each record; several may become one.
    package func signals() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.lastListener += 1
            state.listeners[state.lastListener] = continuation
            return state.lastListener
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.listeners.removeValue(forKey: number) }
        }
        return stream
    }
}
