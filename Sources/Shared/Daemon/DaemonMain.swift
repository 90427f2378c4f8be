import FastableCore
import FoundationEssentials
public import Logging
public import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
    import Glibc
#endif

/// What a daemon consists of once its configuration is known.
public struct DaemonPlan: Sendable {
    /// In the order of dependency: a service may use the ones before it. They stop in reverse order.
    public var services: [any Service]
    /// Returns when the daemon serves; systemd is told then.
    public var ready: @Sendable () async throws -> Void
    /// Asked before each sign of life to systemd.
    public var healthy: @Sendable () async -> Bool

    public init(
        services: [any Service], ready: @escaping @Sendable () async throws -> Void = {},
        healthy: @escaping @Sendable () async -> Bool = { true }
    ) {
        self.services = services
        self.ready = ready
        self.healthy = healthy
    }
}

/// The life of a daemon's process, from its arguments to its exit status.
///
/// SIGTERM and SIGINT stop it gracefully, within `Limits.gracefulShutdownSeconds`; a second signal ends it at once.
public enum DaemonMain {
    /// A wrong configuration: `EX_CONFIG` of sysexits.h.
    public static let configurationStatus: Int32 = 78

    /// Runs until a signal or a failure ends the process. A failure is one line on standard error.
    ///
    /// - Parameters:
    ///   - arguments: with the program's name first.
    ///   - environment: the process's own when left out.
    ///   - compose: makes the services; `nil` when everything is done already and the process shall end with status 0.
    ///     What it throws ends the daemon with status 1.
    public static func run<Configuration: DaemonConfiguration>(
        _ type: Configuration.Type, arguments: [String] = CommandLine.arguments,
        environment: [String: String]? = nil,
        compose: (Configuration, Logger) async throws -> DaemonPlan?
    ) async -> Never {
        let program = Configuration.schema.program
        let environment = environment ?? ProcessInfo.processInfo.environment
        // A write to a closed pipe fails then, instead of ending the daemon.
        signal(SIGPIPE, SIG_IGN)
        MemoryReturn.prepare()
        do {
            let (configuration, log) = try configure(type, Array(arguments.dropFirst()), environment)
            LogBootstrap.start(log)
            let logger = Logger(label: program)
            guard let plan = try await compose(configuration, logger) else { leave(0) }
            try await serve(plan, program: program, environment: environment, logger: logger)
            leave(0)
        } catch let failure as ConfigurationFailure {
            leave(configurationStatus, "\(program): \(line(for: failure.error))")
        } catch {
            leave(1, "\(program): \(line(for: error))")
        }
    }

    /// Carries an error past the others to its own exit status.
    private struct ConfigurationFailure: Error { let error: any Error }

    private static func configure<Configuration: DaemonConfiguration>(
        _ type: Configuration.Type, _ arguments: [String], _ environment: [String: String]
    ) throws -> (Configuration, LogSettings) {
        do {
            let loader = ConfigurationLoader(
                schema: Configuration.schema, arguments: arguments, environment: environment)
            switch try loader.load() {
            case .run(let values): return (try Configuration(values), LogSettings(values))
            case .print(let text):
                LogOutput(descriptor: STDOUT_FILENO).write(line: String(text.dropLast()))
                leave(0)
            }
        } catch {
            throw ConfigurationFailure(error: error)
        }
    }

    private static func serve(
        _ plan: DaemonPlan, program: String, environment: [String: String], logger: Logger
    ) async throws {
        let notifier = SystemdNotifier(
            environment: environment, logger: logger, ready: plan.ready, healthy: plan.healthy)
        var configuration = ServiceGroupConfiguration(
            services: plan.services + [MemoryReturn(), notifier], logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(Limits.gracefulShutdownSeconds)
        let group = ServiceGroup(configuration: configuration)
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let listener = Task {
            var first = true
            for await signal in signals {
                guard first else { leave(128 + signal.rawValue, "\(program): stopped at once by a second signal") }
                first = false
                logger.info("stopping", metadata: ["signal": "\(signal)"])
                Task { await group.triggerGracefulShutdown() }
                Task { try await leaveAtLast(program: program) }
            }
        }
        defer { listener.cancel() }
        try await group.run()
    }

    /// The last resort against work that ignores its cancellation.
    private static func leaveAtLast(program: String) async throws {
        let seconds = Limits.gracefulShutdownSeconds + Limits.cancellationSeconds
        try await Task.sleep(for: .seconds(seconds))
        leave(1, "\(program): did not stop within \(seconds) seconds and was ended")
    }

    /// One line about an error, with the cause that is meant for the operator.
    package static func line(for error: any Error) -> String {
        let known = FastableError.unexpected(error, doing: "running the daemon")
        let text = known.context.map { "\(known.message) (\($0))" } ?? known.message
        return LogText.escape(LogText.cut(text), quoting: false)
    }

    private static func leave(_ status: Int32, _ message: String? = nil) -> Never {
        if let message { LogOutput.standardError.write(line: message) }
        // Not exit(): its handlers could wait for the very thread that hangs.
        _exit(status)
    }
}
