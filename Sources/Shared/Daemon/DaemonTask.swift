public import Logging

/// A daemon's other tasks: run once with the same kind of configuration, then end.
public enum DaemonTask {
    /// Runs the body and ends the process: 0, or one line on standard error and 1 (78 for a wrong configuration).
    public static func run<Configuration: DaemonConfiguration>(
        _ type: Configuration.Type, arguments: [String],
        body: (Configuration, Logger) async throws -> Void
    ) async -> Never {
        await DaemonMain.run(type, arguments: arguments) { configuration, logger in
            try await body(configuration, logger)
            return nil
        }
    }
}
