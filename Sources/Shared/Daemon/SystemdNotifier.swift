import FastableCore
public import Logging
public import ServiceLifecycle

#if canImport(Glibc)
    import Glibc
#endif

/// Tells systemd when the daemon serves, that it still lives, and when it stops. Without systemd it does nothing.
///
/// Put it last in the service group: it is then the first to hear that the daemon stops.
public struct SystemdNotifier: Service {
    private let socket: SystemdSocket?
    private let watchdog: Duration?
    private let ready: @Sendable () async throws -> Void
    private let healthy: @Sendable () async -> Bool
    private let logger: Logger

    /// - Parameters:
    ///   - environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are read.
    ///   - ready: returns when the daemon serves.
    ///   - healthy: asked before each sign of life; after a `false` systemd gets none, and restarts a daemon that stays so.
    public init(
        environment: [String: String], logger: Logger, ready: @escaping @Sendable () async throws -> Void = {},
        healthy: @escaping @Sendable () async -> Bool = { true }
    ) {
        self.socket = SystemdSocket(environment: environment)
        self.watchdog = Self.watchdogInterval(environment, processID: Int(getpid()))
        self.ready = ready
        self.healthy = healthy
        self.logger = logger
    }

    public func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await self.signal() }
        } catch {
            // Being stopped interrupts whatever was awaited; only a failure before that counts.
            guard Task.isShuttingDownGracefully || Task.isCancelled else { throw error }
        }
        send("STOPPING=1")
    }

    private func signal() async throws {
        try await ready()
        try Task.checkCancellation()
        send("READY=1")
        guard let watchdog, socket != nil else {
            try await Task.sleep(for: .seconds(Int64.max / 4))
            return
        }
        while true {
            try await Task.sleep(for: watchdog)
            if await healthy() { send("WATCHDOG=1") }
        }
    }

    private func send(_ message: String) {
        guard let socket else { return }
        do {
            try socket.send(message)
        } catch {
            logger.warning("systemd did not take a message", error: error)
        }
    }

    /// Half of the time that systemd allows; `nil` when it does not watch, or watches another process.
    static func watchdogInterval(_ environment: [String: String], processID: Int) -> Duration? {
        guard let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init), microseconds > 1 else { return nil }
        if let watched = environment["WATCHDOG_PID"], Int(watched) != processID { return nil }
        return .microseconds(microseconds / 2)
    }
}
