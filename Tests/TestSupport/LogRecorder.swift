package import Logging
import Synchronization

/// A log that can be read.
package final class LogRecorder: Sendable {
    private let stored = Mutex<[String]>([])

    package init() {}

    /// `error message key=value …`
    package var lines: [String] { stored.withLock { $0 } }

    package func count(_ text: String) -> Int { lines.count { $0.contains(text) } }

    package func contains(_ text: String) -> Bool { count(text) > 0 }

    package var logger: Logger { Logger(label: "test") { _ in Handler(recorder: self) } }

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
