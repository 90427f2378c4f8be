import FastableCore
public import Logging
public import NodeSandbox
public import ServiceLifecycle

/// Puts the host's own kill switch in force as soon as somebody sets it.
///
/// It looks at the file a few times a second. That costs one system call each, cannot miss a change as a queue of events can, works on
/// every file system, and leaves no socket by which somebody could hold the daemon up.
public struct LocalSwitchWatch: Service {
    private let sandboxes: SandboxManager
    private let file: LocalSwitch
    private let reporter: NodeReporter
    private let logger: Logger

    public init(sandboxes: SandboxManager, file: LocalSwitch, reporter: NodeReporter, logger: Logger) {
        self.sandboxes = sandboxes
        self.file = file
        self.reporter = reporter
        self.logger = logger
    }

    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            // Before it is read: what is written meanwhile is seen in the next round.
            var seen = file.mark
            await take()
            while true {
                try await Task.sleep(for: .milliseconds(Limits.killSwitchLookMilliseconds))
                let mark = file.mark
                guard mark != seen else { continue }
                seen = mark
                await take()
                await reporter.reportNow()
            }
        }
    }

    private func take() async {
        let held = file.current
        // Whoever waits then cuts the networks itself.
        guard await sandboxes.apply(local: held) else { return }
        do { try file.noteTaken(held) } catch {
            logger.error("The kill switch is in force, but that cannot be told.", metadata: ["error": "\(error)"])
        }
    }
}
