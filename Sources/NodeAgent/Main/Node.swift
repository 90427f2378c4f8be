import FastableCore
import FastableDaemon
import FoundationEssentials
import Logging
import NIOPosix
import NodeControl
import NodeSandbox
import ServiceLifecycle

/// Composition only: `fastable-node` runs the daemon, `join` and `teardown` are its two other tasks.
@main
enum Node {
    static func main() async {
        var arguments = CommandLine.arguments
        switch arguments.dropFirst().first {
        case "join":
            arguments.remove(at: 1)
            await DaemonTask.run(JoinConfiguration.self, arguments: arguments, body: join)
        case "kill-switch":
            let action = arguments.dropFirst(2).first.flatMap(KillSwitchTask.Action.init)
            arguments.removeSubrange(1..<min(arguments.count, action == nil ? 2 : 3))
            await DaemonTask.run(KillSwitchConfiguration.self, arguments: arguments) { @Sendable configuration, _ in
                try requireRoot()
                try await KillSwitchTask(configuration).run(action)
            }
        case "teardown":
            arguments.remove(at: 1)
            await DaemonTask.run(TeardownConfiguration.self, arguments: arguments, body: tearDown)
        default:
            await DaemonMain.run(NodeConfiguration.self, compose: compose)
        }
    }

    private static func compose(_ configuration: NodeConfiguration, _ logger: Logger) async throws -> DaemonPlan {
        let paths = try configuration.paths
        let lock = try takeLock(paths)
        // Output of commands is written to files on these loops: a slow disk must not hold up the link.
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let sandboxes = try await SandboxManager(try configuration.sandboxes, group: loops, logger: logger)
        try await sandboxes.recover()
        let facts = NodeFactsReader(sandboxes: sandboxes, stateDirectory: paths.state)
        let reporter = NodeReporter(
            leased: { sandboxes.granted($0, asked: $1) },
            imagesInUse: { sandboxes.heard(imagesInUse: $0, asked: $1) }, current: { await facts.report() })
        let router = NodeRouter(sandboxes: sandboxes, reporter: reporter, logger: logger)
        return DaemonPlan(
            services: [
                HostWatch(sandboxes: sandboxes, logger: logger),
                LocalSwitchWatch(
                    sandboxes: sandboxes, file: LocalSwitch(paths: paths), reporter: reporter, logger: logger),
                NodeLinkService(
                    identityDirectory: paths.identity, reporter: reporter, transitions: sandboxes.transitions,
                    logger: logger, welcomed: { switches in _ = await sandboxes.apply(KillOrder(set: switches)) },
                    departed: { projects in for project in projects { _ = try await sandboxes.setAside(project) } },
                    serve: { stream in await router.serve(stream) }),
            ],
            healthy: {
                // The lock is held for as long as this can be asked.
                defer { withExtendedLifetime(lock) {} }
                return await Liveness.answers(within: .seconds(Limits.watchdogAnswerSeconds)) {
                    await sandboxes.answer()
                    return true
                }
            })
    }

    /// Before anything of the host is touched: a second daemon must not change the rules of the first.
    private static func takeLock(_ paths: NodePaths) throws -> InstanceLock {
        try requireRoot()
        do {
            try FileManager.default.createDirectory(
                atPath: paths.state, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        } catch {
            throw FastableError(
                .unavailable, "The state directory ‘\(paths.state)’ cannot be made. Check its parent and the disk.",
                context: "\(error)")
        }
        return try InstanceLock(directory: paths.state, program: "fastable-node")
    }

    private static func requireRoot() throws {
        guard geteuid() == 0 else {
            throw FastableError(
                .forbidden,
                "fastable-node must run as root: it makes namespaces, mounts and network links. Start it with sudo.")
        }
    }

    private static func join(_ configuration: JoinConfiguration, _ logger: Logger) async throws {
        try requireRoot()
        let identity = try configuration.node.paths.identity
        try FileManager.default.createDirectory(
            atPath: identity, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        guard let bytes = try SmallFile.read(configuration.tokenFile, atMost: 64 * 1024) else {
            throw FastableError(.notFound, "There is no token file ‘\(configuration.tokenFile)’.")
        }
        let token = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        let joined = try await Joining.join(
            tokenText: token,
            name: configuration.name ?? NodeName.suggestion(hostName: ProcessInfo.processInfo.hostName),
            identityDirectory: identity)
        LogOutput.standardOutput.write(line: "Joined as \(joined.node); the node will dial \(joined.listener).")
    }

    private static func tearDown(_ configuration: TeardownConfiguration, _ logger: Logger) async throws {
        let paths = try configuration.node.paths
        let lock = try takeLock(paths)
        let sandboxes = try await SandboxManager(
            try configuration.node.sandboxes, group: MultiThreadedEventLoopGroup.singleton, logger: logger)
        defer { withExtendedLifetime(lock) {} }
        try await sandboxes.recover()
        try await sandboxes.tearDownAll()
        guard configuration.removesData else { return }
        try FileManager.default.removeItem(atPath: paths.state)
        try await sandboxes.releaseBlock()
        // Only when they are empty: what is not ours to remove stays, and is seen.
        for directory in ["/containers", "/runtime", ""] { rmdir(paths.run + directory) }
    }
}

extension NodeConfiguration {
    var paths: NodePaths {
        get throws { try NodePaths(instance: instance, state: stateDirectory, run: runDirectory) }
    }

    var sandboxes: SandboxConfiguration {
        get throws {
            SandboxConfiguration(
                paths: try paths, initProgram: initProgram, addressPool: addressPool,
                resolvers: resolvers.isEmpty ? nil : resolvers, deniedNetworks: deniedNetworks, runtime: runtime,
                projectDiskBytes: projectDiskBytes == 0 ? nil : projectDiskBytes, diskPercents: diskPercents,
                startsAtOnce: startsAtOnce, startsPerMinute: startsPerMinute, insecureRegistries: insecureRegistries)
        }
    }
}
