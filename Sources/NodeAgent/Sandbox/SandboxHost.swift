import CLinux
import FastableCore
import Glibc
import Logging
import NodeLinux

/// What the sandboxes of a node share: the host's facilities, and the steps that make and remove one container with them.
struct SandboxHost: Sendable {
    let paths: NodePaths
    let block: InstanceBlock
    let images: ImageStore
    let runtime: any ContainerRuntime
    let cgroups: CgroupTree
    /// The group of all containers of the instance.
    let group: String
    let network: Network
    let firewall: Firewall
    let resolvers: [IPv4Address]
    let ledger: ProjectLedger
    let connector: InitConnector
    let remains: Remains
    let trash: Trash
    let disk: ProjectDisk
    let space: DiskWatch
    let transitions = TransitionJournal()
    let kernelLog = KernelLog()
    let board: SwitchBoard
    let lease: LeaseKeeper
    let starts: StartLine
    let logger: Logger
    /// Ending a container is a write to a file; what removes the rest takes processes of the host.
    let dismantling = Turns(Limits.containersStoppedAtOnce)

    func group(_ container: ContainerID) -> String { "\(group)/\(container)" }

    // MARK: volumes

    /// Makes a project's directories. What a container sees belongs to its root.
    func makeVolume(_ project: ProjectPaths, slot: Slot) throws {
        try Directories.make(project.directory, mode: 0o700)
        for path in [project.workspace, project.cache] { try Directories.makeOnce(path, owner: slot.uidBase) }
        try Directories.make(project.execs, mode: 0o700)
    }

    /// The container's own changes to its root file system.
    private func makeLayer(_ project: ProjectPaths, slot: Slot) throws {
        try Directories.makeOnce(project.upper, owner: slot.uidBase)
        try Directories.make(project.work, mode: 0o700)
    }

    // MARK: making

    /// Throws `unavailable` when the disk has no room for it.
    func checkSpace(for wish: DiskWatch.Wish) async throws {
        try await BlockingPool.shared.run { [space] in try space.check(wish) }
    }

    /// Makes a container and starts its init. When it throws, nothing is left of it, or `remains` has it.
    func build(
        _ spec: ContainerSpec, on image: StoredImage, as container: ContainerID, slot: Slot
    ) async throws -> ProcessIdentity {
        do {
            return try await disk.withReserve(of: paths.project(spec.project), wanted: spec.limits.diskBytes) {
                try await assemble(spec, image, container, slot)
            }
        } catch {
            // The steps back must be taken although the task may have been cancelled.
            await Task { _ = await dismantle(container, slot: slot, process: nil) }.value
            throw explain(error)
        }
    }

    private func assemble(
        _ spec: ContainerSpec, _ image: StoredImage, _ container: ContainerID, _ slot: Slot
    ) async throws -> ProcessIdentity {
        let containerPaths = paths.container(container)
        let (namespaces, listener) = try await BlockingPool.shared.run {
            try prepare(spec, container, slot, image, containerPaths)
        }
        // The network namespace exists before the container, so that both are made at the same time.
        async let link: Void = network.attach(slot, to: namespaces)
        async let rules: Void = firewall.checkBeforeStart()
        let pid = try await runtime.run(container, paths: containerPaths, listener: listener.descriptor.number)
        try await link
        try await rules
        // The container has its own mount of it; the host's table stays short.
        try Mounts.remove(containerPaths.rootfs)
        return try ProcessIdentity(pid: pid)
    }

    /// Joins a container's init with the node.
    func connect(
        _ container: ContainerID, slot: Slot, process: ProcessIdentity, execs: ExecStore, activity: ProjectActivity
    ) async throws -> ExecTable {
        try await connector.connect(
            container, group: group(container), slot: slot, process: process,
            socket: paths.container(container).initSocket, execs: execs, activity: activity)
    }

    /// Keeps the socket open across suspensions.
    private final class Listener: Sendable {
        let descriptor: FileDescriptor
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private func prepare(
        _ spec: ContainerSpec, _ container: ContainerID, _ slot: Slot, _ image: StoredImage,
        _ containerPaths: ContainerPaths
    ) throws -> (ContainerNamespaces, Listener) {
        let project = paths.project(spec.project)
        try makeVolume(project, slot: slot)
        try makeLayer(project, slot: slot)
        for directory in [containerPaths.directory, containerPaths.rootfs, containerPaths.lower] {
            try Directories.make(directory, mode: 0o711)
        }
        try containerPaths.keep(slot)
        try Directories.make(paths.runtime, mode: 0o700)
        let namespaces = try ContainerNamespaces(base: slot.uidBase, count: Slot.idCount)
        try mountRoot(image, project, containerPaths, namespaces)
        try ContainerBundle(
            spec, container: container, slot: slot, paths: paths,
            namespaces: (namespaces.userPath, namespaces.networkPath), cgroup: group(container), resolvers: resolvers,
            limitsSwap: cgroups.limitsSwap, openFilesAtMost: Self.openFilesAtMost
        ).write()
        return (namespaces, Listener(try Self.listen(at: containerPaths.initSocket)))
    }

    /// The image below, id-mapped and shared by all containers; the container's own layer above, plain.
    private func mountRoot(
        _ image: StoredImage, _ project: ProjectPaths, _ container: ContainerPaths, _ namespaces: ContainerNamespaces
    ) throws {
        do throws(Errno) {
            try Mounts.idMapped(image.rootfs, at: container.lower, userNamespace: namespaces.user.number)
            try Mounts.overlay(at: container.rootfs, lower: container.lower, upper: project.upper, work: project.work)
            // The overlay keeps what it needs of it.
            try Mounts.remove(container.lower)
        } catch {
            guard error.number == EINVAL else { throw error }
            throw FastableError(
                .unavailable,
                "The node's file system cannot hold containers: it has no id-mapped mounts. Put the node's state directory and "
                    + "the image on ext4, xfs or btrfs.", context: "\(image.rootfs): \(error)")
        }
    }

    /// The socket on which init waits for the node. It is handed over as a descriptor; its path exists on the host only.
    private static func listen(at path: String) throws -> FileDescriptor {
        do throws(Errno) { return try FileDescriptor(checking: fastable_init_listen(path)) } catch {
            guard error.number == ENAMETOOLONG else { throw error }
            throw FastableError(
                .invalid, "The node's run directory has too long a name. Use one of at most 40 characters.",
                context: path)
        }
    }

    private static let openFilesAtMost: UInt64 = {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return UInt64(limit.rlim_max)
    }()

    private func explain(_ error: any Error) -> FastableError {
        if let error = error as? Errno {
            return .system(error.number, cannot: "prepare the container", context: "\(error)")
        }
        return .unexpected(error, doing: "starting the container")
    }
}
