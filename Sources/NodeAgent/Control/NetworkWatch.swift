import FastableCore
public import Logging
public import NodeSandbox
public import ServiceLifecycle

/// Keeps the firewall in force: somebody may flush the host's rules, and Docker may start later and close the way.
public struct NetworkWatch: Service {
    private let sandboxes: SandboxManager
    private let logger: Logger

    public init(sandboxes: SandboxManager, logger: Logger) {
        self.sandboxes = sandboxes
        self.logger = logger
    }

    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(Limits.networkCheckSeconds))
                do {
                    try await sandboxes.checkNetwork()
                } catch {
                    logger.error("The network rules cannot be put in force.", metadata: ["cause": "\(error)"])
                }
            }
        }
    }
}
