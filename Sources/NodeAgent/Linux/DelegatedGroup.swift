import FastableCore
import Glibc

/// Where in the host's tree of control groups the containers of an instance are.
///
/// systemd owns the tree of a host with cgroup v2. There it is asked for a part that it leaves to us: a service of its own with
/// `Delegate=yes`, apart from the daemon's, which may be restarted. Operators see and limit all containers together as
/// `fastable.slice`, and end those of an instance by stopping its service. Elsewhere the containers are below the root of the tree.
///
/// Source: https://systemd.io/CGROUP_DELEGATION
public struct DelegatedGroup: Sendable {
    /// The group below the root of the tree, and the last part of the other one: `fastable-main`.
    public let plain: String
    private let tree: CgroupTree

    private static let slice = "fastable.slice"
    private var unit: String { plain + "-containers.service" }
    private var service: String { "\(Self.slice)/\(unit)" }
    /// Below the service's group, in which no process may be once it has groups with limits.
    private var delegated: String { "\(service)/\(plain)" }
    private var keeper: String { "\(service)/keeper" }

    public init(_ plain: String, in tree: CgroupTree) {
        self.plain = plain
        self.tree = tree
    }

    /// The one in which containers are, or would be.
    public var present: String { tree.exists(delegated) ? delegated : plain }

    /// Whether systemd has the tree.
    private var isSystemds: Bool { tree.mode == .v2 && access("/run/systemd/system", F_OK) == 0 }

    /// Makes sure that there is one, and gives it.
    ///
    /// - Throws: `internal` when systemd delegates nothing.
    public func prepare() async throws -> String {
        // Containers of an earlier release stay where they are until all of them have ended.
        guard isSystemds, tree.isEmpty(plain) else { return plain }
        if tree.isEmpty(service) { try await start() }
        try await BlockingPool.shared.run {
            try arrange()
            try tree.remove(plain)
        }
        return delegated
    }

    /// Ends what keeps it. Call it when nothing is in it any more.
    public func end() async throws {
        guard isSystemds else { return }
        let result = try await HostCommand("systemctl", ["stop", unit]).run()
        guard tree.exists(service) else { return }
        _ = try result.checked("stop the service that keeps the containers' control group")
    }

    /// A process that does nothing keeps the service's group while there is no container. Its end ends nothing else.
    private func start() async throws {
        // One whose group has gone is of no use; that there is none is usual.
        _ = try await HostCommand("systemctl", ["stop", unit]).run()
        try await HostCommand(
            "systemd-run",
            [
                "--quiet", "--collect", "--unit=\(unit)", "--slice=\(Self.slice)", "--service-type=exec",
                "--remain-after-exit", "--description=Containers of \(plain)", "--property=Delegate=yes",
                "--property=TasksMax=infinity", "--property=OOMScoreAdjust=-900", "/usr/bin/sleep", "infinity",
            ]
        ).runChecked("ask systemd for a control group for containers")
    }

    /// Blocks.
    private func arrange() throws(Errno) {
        for group in [keeper, delegated] {
            if mkdir(tree.path(of: group), 0o755) < 0, errno != EEXIST { throw Errno.last }
        }
        for process in try tree.processes(of: service) {
            try CgroupTree.write(process, to: tree.path(of: keeper) + "/cgroup.procs")
        }
    }
}

extension CgroupTree {
    fileprivate func path(of group: String) -> String { root + "/" + group }

    fileprivate func exists(_ group: String) -> Bool { access(path(of: group), F_OK) == 0 }

    /// Those that are in the group itself.
    fileprivate func processes(of group: String) throws(Errno) -> [String] {
        let file = try FileDescriptor(opening: path(of: group) + "/cgroup.procs", O_RDONLY)
        let text = String(decoding: try file.readAll(limit: 64 * 1024), as: UTF8.self)
        return text.split(separator: "\n").map(String.init)
    }
}
