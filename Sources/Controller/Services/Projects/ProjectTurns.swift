import FastableCore
import Synchronization

/// Changes of one project that must not mix: each begins when the one before it has ended, and goes on when its caller goes away.
final class ProjectTurns: Sendable {
    private struct Turn {
        var number: Int
        var end: Task<Void, Never>
    }

    private struct State {
        var last: [ProjectID: Turn] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    func run<Value: Sendable>(
        _ project: ProjectID, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let (number, turn) = state.withLock { state in
            let turn = Task { [previous = state.last[project]?.end] in
                await previous?.value
                return try await body()
            }
            state.count += 1
            state.last[project] = Turn(number: state.count, end: Task { _ = await turn.result })
            return (state.count, turn)
        }
        defer {
            state.withLock { state in
                if state.last[project]?.number == number { state.last[project] = nil }
            }
        }
        return try await turn.value
    }
}
