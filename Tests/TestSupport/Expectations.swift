package import FastableCore
import Foundation
package import Testing

/// Expects the body to fail with one of these codes, and gives the error.
@discardableResult
package func expectFailure(
    _ codes: FastableError.Code..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async -> FastableError? {
    let error = await #expect(throws: FastableError.self, sourceLocation: sourceLocation) { try await body() }
    if let error { #expect(codes.contains(error.code), "\(error)", sourceLocation: sourceLocation) }
    return error
}

/// Expects the body to fail with this code and with all these words in its message, and gives the error.
@discardableResult
package func expectFailure(
    _ code: FastableError.Code, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) -> FastableError? {
    let error = #expect(throws: FastableError.self, sourceLocation: sourceLocation) { try body() }
    guard let error else { return nil }
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    for word in words {
        #expect(error.message.contains(word), "‘\(word)’ in: \(error.message)", sourceLocation: sourceLocation)
    }
    return error
}

/// The error that the body must throw.
package func expectError<Value>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async throws -> FastableError {
    try await #require(throws: FastableError.self, sourceLocation: sourceLocation) { _ = try await body() }
}

/// How many times slower than a real machine this one is, for hosts that are emulated: `FASTABLE_TEST_SLOWNESS`.
private let slowness = ProcessInfo.processInfo.environment["FASTABLE_TEST_SLOWNESS"].flatMap { Int($0) } ?? 1

/// Waits until a condition holds. The test ends when it never does, since what follows would tell nothing.
///
/// The patience is for machines that stand still for seconds; a condition that was not looked at often enough meanwhile is looked at
/// again.
package func eventually(
    _ what: String = "the condition holds", seconds: Int = 120, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let seconds = seconds * slowness
    let deadline = ContinuousClock.now + .seconds(seconds)
    var holds = try await condition()
    var looks = 1
    while !holds && (ContinuousClock.now < deadline || looks < 100) {
        try await Task.sleep(for: .milliseconds(5))
        holds = try await condition()
        looks += 1
    }
    try #require(holds, "waited \(seconds) s in vain: \(what)", sourceLocation: sourceLocation)
}
