import FastableCore
import FastableDaemon
import FoundationEssentials
import NodeSandbox

/// `fastable-node kill-switch`: the file is written first, so that the daemon honours it whenever it runs; then the daemon does the
/// work when it is alive, and this program does it when the daemon is dead or deaf.
struct KillSwitchTask {
    enum Action: String { case on, off, status }

    private let configuration: KillSwitchConfiguration
    private let paths: NodePaths
    private let file: LocalSwitch

    init(_ configuration: KillSwitchConfiguration) throws {
        self.configuration = configuration
        paths = try configuration.node.paths
        file = LocalSwitch(paths: paths)
    }

    func run(_ action: Action?) async throws {
        switch action {
        case .on: try await turnOn()
        case .off: try await turnOff()
        case .status: try status()
        case nil: throw FastableError(.invalid, "Say what to do: fastable-node kill-switch on|off|status")
        }
    }

    private func turnOn() async throws {
        let environment = ProcessInfo.processInfo.environment
        let held = try file.turnOn(
            configuration.isNetworkOnly ? .network : .kill, reason: configuration.reason,
            by: environment["SUDO_USER"] ?? "root")
        let isTaken = try await isTakenByDaemon(held)
        let host = try LocalKill(paths: paths)
        if configuration.isNetworkOnly {
            if !isTaken { try await host.cutNetworks() }
            say("On: no packet goes in or out of any container.\(isTaken ? "" : Self.withoutDaemon)")
            return
        }
        if !isTaken { try await host.killAll() }
        let left = await host.waitUntilEmpty(seconds: Limits.execKillSeconds)
        guard left.isEmpty else {
            throw FastableError(
                .timeout,
                "The switch is on, but \(left.count) containers still have processes: they may wait for a disk. The daemon "
                    + "goes on trying.", context: left.joined(separator: ", "))
        }
        say("On: no container has a process, and none starts.\(isTaken ? "" : Self.withoutDaemon)")
    }

    private static let withoutDaemon = " (The daemon does not answer; it takes the switch when it runs.)"

    private func turnOff() async throws {
        let wasNetwork = file.current?.mode == .network
        try file.turnOff()
        let isTaken = try await isTakenByDaemon(nil)
        // The daemon's other switches stay in force: it alone knows them, and puts its rules in force when it starts.
        let rest = wasNetwork && !isTaken ? " Networks open when the daemon runs." : ""
        say("Off.\(isTaken ? "" : " The daemon does not answer.")\(rest)")
    }

    private func status() throws {
        guard let held = file.current else { return say("off") }
        let what = held.mode == .network ? "network only" : held.mode == .kill ? "kill" : "nothing new"
        let daemon = file.isTaken(held) && isAlive ? "in force" : "not taken by the daemon"
        say("on (\(what)), by \(held.by) since \(held.since.formatted(.iso8601)), \(daemon): \(held.reason)")
    }

    private func say(_ line: String) { LogOutput.standardOutput.write(line: line) }

    private var isAlive: Bool { InstanceLock.isHeld(directory: paths.state) }

    /// A daemon that lives is asked by the file, and answers in its run directory.
    private func isTakenByDaemon(_ held: KillSwitch?) async throws -> Bool {
        let deadline = ContinuousClock.now + .milliseconds(Limits.killAnswerMilliseconds)
        while isAlive {
            if file.isTaken(held) { return true }
            guard ContinuousClock.now < deadline else { return false }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }
}
