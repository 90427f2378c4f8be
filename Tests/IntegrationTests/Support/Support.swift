import FastableCore
import Foundation
import Logging
import Synchronization
import Testing

/// Runs `body` with an empty folder that is removed afterwards.
func withFolder<Value: Sendable>(_ body: @Sendable (String) async throws -> Value) async throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appending(
        path: "fastable-integration-\(UInt64.random(in: 0 ... .max))"
    ).path
    try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
}

/// Waits until a condition holds; throws after a while, since what follows would tell nothing.
func eventually(
    _ what: String, seconds: Int = 15, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw FastableError(.timeout, "Waited \(seconds) s in vain: \(what).")
}

/// Expects the body to fail with this code and gives the error.
@discardableResult
func expectFailure(
    _ codes: FastableError.Code..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () async throws -> Void
) async -> FastableError? {
    do {
        try await body()
        Issue.record("nothing was thrown, expected \(codes)", sourceLocation: sourceLocation)
        return nil
    } catch let error as FastableError {
        #expect(codes.contains(error.code), "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("expected \(codes), got \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

/// A log that can be read.
final class LogRecorder: Sendable {
    private let stored = Mutex<[String]>([])

    var lines: [String] { stored.withLock { $0 } }
    func contains(_ text: String) -> Bool { lines.contains { $0.contains(text) } }
    var logger: Logger { Logger(label: "test") { _ in Handler(recorder: self) } }

    private struct Handler: LogHandler {
        let recorder: LogRecorder
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        init(recorder: LogRecorder) { self.recorder = recorder }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = metadata.merging(event.metadata ?? [:]) { $1 }.map { "\($0)=\($1)" }.sorted()
            recorder.stored.withLock {
                $0.append("\(event.level) \(event.message) \(fields.joined(separator: " "))")
            }
        }
    }
}
