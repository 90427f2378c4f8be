public import FastableCore
public import NIOCore

/// Beginning a command.
extension SandboxManager {
    /// Starts a command in its project's container, which is made or woken for it.
    ///
    /// - Parameters:
    ///   - latest: it may have to wait for its container; after this it never starts.
    ///   - listener: is told how far its container is.
    ///   - leave: for a command that is not on record yet; returns when it is, and throws when it is taken back. Before that only
    ///     what changes nothing is done.
    /// - Throws: as `ensure`, `RunningContainer.prepared` and `RunningContainer.start`; `timeout` after `latest`; what `leave` throws.
    public nonisolated func begin(
        _ start: ExecStart, input: ByteBuffer? = nil, before latest: ContinuousClock.Instant? = nil,
        telling listener: (@Sendable (StartProgress) async throws -> Void)? = nil,
        leave: (@Sendable () async throws -> Void)? = nil
    ) async throws -> ExecSession {
        var awaited = leave
        // A container is made or woken for a command on record only.
        if awaited != nil, await !isRunning(start.container.project) { try await awaited.take()?() }
        var attempts = 1
        while true {
            let container = try await ensure(start.container, telling: listener)
            let (command, user) = try await container.prepared(start.command)
            try await awaited.take()?()
            do {
                return try await container.start(
                    exec: start.exec, command: command, user: user, input: input, ended: ended
                ) {
                    if let latest, ContinuousClock.now >= latest {
                        throw FastableError(.timeout, "The command did not start in time, and does not start any more.")
                    }
                    try checkStart(start.container)
                }
            } catch let error as FastableError where error.code == .gone && attempts < Limits.execStartAttempts {
                // The container ended between the two steps, and nothing has begun: there is another one as soon as that is known.
                try await Task.sleep(for: .milliseconds(Limits.execStartPauseMilliseconds * attempts))
                attempts += 1
            }
        }
    }
}
