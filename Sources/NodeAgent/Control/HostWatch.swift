import FastableCore
public import Logging
public import NodeSandbox
public import ServiceLifecycle

/// Keeps the host as it has to be: somebody may change its firewall, Docker may start later and close the way, what could not be
/// removed of a container may be free now, containers may have become idle, the disk may have become full, and something may lie about that
/// belongs to nothing.
public struct HostWatch: Service {
    private let sandboxes: SandboxManager
    private let logger: Logger

    public init(sandboxes: SandboxManager, logger: Logger) {
        self.sandboxes = sandboxes
        self.logger = logger
    }

    public func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await repeatedly { await checkNetwork() } }
            // A removal may take a minute, in which the rules are watched as well.
            group.addTask { await repeatedly { await sandboxes.retryRemovals() } }
            let pause = Limits.lifecycleSweepSeconds
            group.addTask { await repeatedly(every: pause) { await sandboxes.sweep() } }
            group.addTask { await repeatedly(every: pause) { await sandboxes.reclaimMemory() } }
            group.addTask { await repeatedly(every: 1) { await sandboxes.keepLease() } }
            group.addTask { await repeatedly { await sandboxes.makeRoom() } }
            group.addTask { await repeatedly(every: Limits.garbageSweepSeconds) { await sandboxes.sweepGarbage() } }
            // What a kill switch could not end is tried again.
            group.addTask { await repeatedly { await sandboxes.settleSwitches() } }
        }
    }

    private func repeatedly(
        every seconds: Int = Limits.hostCheckSeconds, _ body: @escaping @Sendable () async -> Void
    ) async {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(seconds))
                await body()
            }
        }
    }

    private func checkNetwork() async {
        do {
            try await sandboxes.checkNetwork()
        } catch {
            logger.error("The network rules cannot be put in force.", metadata: ["cause": "\(error)"])
        }
    }
}
