import FastableCore
import Glibc
import NodeLinux

/// The kill switch without the daemon: by the control groups and rules that it left in the kernel.
public struct LocalKill: Sendable {
    private let paths: NodePaths
    private let cgroups: CgroupTree
    private var instance: String { DelegatedGroup(paths.group, in: cgroups).present }

    public init(paths: NodePaths) throws {
        self.paths = paths
        try Directories.make(paths.run, mode: 0o711)
        cgroups = try CgroupTree(ownMount: paths.cgroupMount)
    }

    /// Ends every process of every container, and of the node's searches beside them. Their removal is left to the daemon.
    public func killAll() async throws {
        try await BlockingPool.shared.run { try cgroups.kill(instance) }
    }

    /// Waits until nothing is left; gives the groups in which something is.
    public func waitUntilEmpty(seconds: Int) async -> [String] {
        let deadline = ContinuousClock.now + .seconds(seconds)
        let left = try? await BlockingPool.shared.run {
            while true {
                let left = cgroups.children(of: instance).filter {
                    ContainerID($0) != nil && !cgroups.isEmpty("\(instance)/\($0)")
                }
                guard !left.isEmpty, ContinuousClock.now < deadline else { return left.sorted() }
                usleep(2000)
            }
        }
        return left ?? [instance]
    }

    /// Adds all interfaces that containers of the instance can have to the set of those that are switched off.
    public func cutNetworks() async throws {
        guard let block = try BlockRegistry(paths: paths).held() else { return }
        let table = "inet fastable_\(paths.instance)"
        // Without the table there is no container that could have a network.
        guard try await NetworkTools.tables().contains(table) else { return }
        let names = (0..<Limits.projectsPerNode).compactMap { try? block.slot($0).interface }
        let elements = names.map { "\"\($0)\"" }.joined(separator: ", ")
        try await NetworkTools.nft(
            "add element \(table) \(FirewallRules.cutSet) { \(elements) }\n", doing: "switch the networks off")
    }
}
