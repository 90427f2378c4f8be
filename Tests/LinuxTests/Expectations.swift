import FastableCore
import Testing

/// The error that `body` must throw.
func expectError<Value>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async throws -> FastableError {
    do {
        _ = try await body()
    } catch let error as FastableError {
        return error
    }
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    throw FastableError(.internal, "nothing was thrown")
}

/// Waits until `condition` holds, ten seconds at most.
func eventually(
    sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async -> Bool
) async throws {
    for _ in 0..<1000 {
        if await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("the condition never held", sourceLocation: sourceLocation)
}
