public import FastableCore
import FoundationEssentials
public import Logging
public import NIOCore
import NodeFiles
public import NodeLinux
import Synchronization

/// All containers of a node. The only door to them for the rest of the daemon.
public actor SandboxManager {
    let host: SandboxHost
    private let registry: BlockRegistry
    let logger: Logger
    /// Name and version of the OCI runtime: `runc 1.1.5`.
    public nonisolated let runtimeVersion: String
    private(set) var sandboxes: [ProjectID: Sandbox] = [:]
    /// Kills that are being carried out.
    var kills: [KillSwitchID: Task<[KillReceipt], Never>] = [:]
    /// Commands that may not start any more.
    public nonisolated let ended = EndedExecs()
    /// The slots of projects whose records cannot be read, which the owner of their files tells.
    private var reserved: [ProjectID: Int] = [:]
    /// Slots that nobody has, from which something is removed just now.
    var sweptSlots: Set<Int> = []
    var garbage = GarbageStateMachine()
    private var deleted = RecentSet<ProjectID>(limit: Limits.deletedProjectsRemembered)
    var departures = Departures(limit: Limits.deletedProjectsRemembered)
    private(set) var isClosed = false
    let killProofMilliseconds: Int
    /// For those who tell only that they work.
    nonisolated let activities = Mutex<[ProjectID: ProjectActivity]>([:])

    public nonisolated var images: ImageStore { host.images }
    /// Changes of containers that the controller is to be told.
    public nonisolated var transitions: TransitionJournal { host.transitions }
    public nonisolated var cgroupMode: CgroupMode { host.cgroups.mode }
    /// The addresses and ids of this instance.
    public nonisolated var block: InstanceBlock { host.block }

    /// Checks the host, leases the instance's block and loads the firewall. Call `recover` next.
    ///
    /// - Throws: `unavailable`, `forbidden`, `invalid` or `conflict`, saying what the operator should do.
    public init(_ configuration: SandboxConfiguration, group: any EventLoopGroup, logger: Logger) async throws {
        runtimeVersion = try await Preflight(configuration).run()
        killProofMilliseconds = configuration.killProofMilliseconds
        for warning in Preflight.warnings() { logger.warning("\(warning)") }
        let paths = configuration.paths
        registry = BlockRegistry(paths: paths)
        let block = try await Self.lease(registry, configuration)
        let resolvers = try configuration.resolvers.map { try $0.map(Self.resolver) } ?? Resolvers.ofHost()
        if resolvers.isEmpty {
            logger.warning("containers have no name server: those of the host listen on its loopback interface only")
        }
        let rules = FirewallRules(
            instance: paths.instance, block: block, resolvers: resolvers,
            denied: try configuration.deniedNetworks.map(Self.network))
        let cgroups = try CgroupTree(ownMount: paths.cgroupMount)
        let board = SwitchBoard(paths: paths, block: block)
        host = SandboxHost(
            paths: paths, block: block,
            images: ImageStore(directory: paths.images, insecureRegistries: configuration.insecureRegistries),
            runtime: RuncRuntime(program: configuration.runtime, stateDirectory: paths.runtime),
            cgroups: cgroups, group: try await DelegatedGroup(paths.group, in: cgroups).prepare(), network: Network(),
            firewall: Firewall(
                rules: rules, forwarding: Forwarding(note: paths.blocks + "/ip_forward"), logger: logger,
                cut: { board.cutInterfaces }),
            resolvers: resolvers, ledger: ProjectLedger(paths: paths),
            connector: InitConnector(cgroups: cgroups, eventLoops: group, logger: logger), remains: Remains(),
            trash: Trash(paths.trash), disk: ProjectDisk(bytes: configuration.projectDiskBytes, logger: logger),
            space: DiskWatch(path: paths.state, percents: configuration.diskPercents, logger: logger),
            board: board, lease: LeaseKeeper(path: paths.lease),
            starts: StartLine(
                atOnce: configuration.startsAtOnce, perMinute: configuration.startsPerMinute,
                availableBytes: configuration.availableMemory),
            logger: logger)
        self.logger = logger
        host.space.look()
        try Directories.install(configuration.initProgram, at: paths.initProgram)
        // On a full disk there may be no room for it when it is needed to delete something.
        for directory in [paths.projects, paths.trash] { try Directories.make(directory, mode: 0o700) }
        // A network that is switched off is not open for a moment while the rules are loaded anew.
        if board.cutsSomeNetwork { host.ledger.load().records.forEach(know) }
        try await host.firewall.apply()
    }

    private func know(_ record: ProjectRecord) {
        guard let slot = try? host.block.slot(record.slot) else { return }
        host.board.know(record.spec.project, of: record.spec.workspace, interface: slot.interface)
    }

    // MARK: containers

    /// The project's running container; it is made, with its files, when there is none.
    ///
    /// - Throws: `not_found` for an unknown image, `limit` when the node is full, `conflict` while the project is being deleted,
    ///   `timeout`, `unavailable` or `internal` when it cannot be started; the status then says why.
    ///
    /// - Parameter listener: told how far it is; when that throws, nobody waits there any more.
    public func ensure(
        _ spec: ContainerSpec, telling listener: (@Sendable (StartProgress) async throws -> Void)? = nil
    ) async throws -> RunningContainer {
        try await sandbox(for: spec).ensure(spec, telling: listener)
    }

    /// Containers that are being started, and that wait for it.
    public nonisolated var startLoad: StartLoad { host.starts.load }

    /// The project's files; they are made when there are none. No container is started.
    public func volume(_ spec: ContainerSpec) async throws -> ProjectVolume {
        if sandboxes[spec.project] == nil { try await host.checkSpace(for: .project) }
        return try await sandbox(for: spec).volume()
    }

    /// The files of a project that this node has; `not_found` for another.
    public func volume(of project: ProjectID) async throws -> ProjectVolume {
        guard let sandbox = sandboxes[project] else {
            try departures.check(project, stay: 0)
            throw FastableError(.notFound, "The node has no files of the project ‘\(project)’.")
        }
        return try await sandbox.volume()
    }

    /// `nil` for a project that this node never had.
    public func status(_ project: ProjectID) async -> ContainerStatus? { await sandboxes[project]?.status() }

    public func statuses() async -> [ContainerStatus] {
        var statuses: [ContainerStatus] = []
        for (_, sandbox) in sandboxes.sorted(by: { $0.key < $1.key }) { statuses.append(await sandbox.status()) }
        return statuses
    }

    /// A command of a project, running or ended, also when its container is no more. `not_found` when there is none.
    public func exec(_ exec: ExecID, of project: ProjectID) async throws -> ExecSession {
        guard let sandbox = sandboxes[project] else {
            throw FastableError(.notFound, "The project has no container on this node.")
        }
        return try await sandbox.exec(exec)
    }

    /// Removes container and files. A project that the node does not have is fine.
    public func delete(_ project: ProjectID) async throws {
        if let sandbox = sandboxes[project] {
            try await sandbox.delete()
            // Before anything else waits: a late call must not find the project unknown and make it anew.
            deleted.insert(project)
            await forget(sandbox)
        }
        deleted.insert(project)
    }

    /// Removes what is of a project on this node, when nothing has happened to it since it was saved elsewhere. A project that the node
    /// does not have is fine.
    ///
    /// - Throws: `conflict` when it was used since; nothing was removed then.
    public func release(_ request: ProjectRelease) async throws {
        if let sandbox = sandboxes[request.project] {
            try await sandbox.release(request)
            departures.note(request.project, stay: request.stay)
            await forget(sandbox)
        }
        departures.note(request.project, stay: request.stay)
    }

    func forget(_ sandbox: Sandbox) async {
        let project = sandbox.project
        if sandboxes[project] === sandbox {
            sandboxes[project] = nil
            activities.withLock { $0[project] = nil }
        }
        host.board.forget(project)
        await host.removeSearchGroup(of: project)
    }

    /// Where the project's searches run, beside its container: they neither need nor burden one.
    public func searchGroup(of project: ProjectID) async throws -> GroupEntrance {
        guard sandboxes[project] != nil else {
            throw FastableError(.notFound, "The node has no files of the project ‘\(project)’.")
        }
        return try await host.searchGroup(of: project)
    }

    /// Removes an image from the node; `conflict` while a project uses it.
    public func removeImage(_ name: String) async throws {
        var users: [ProjectID] = []
        for sandbox in sandboxes.values {
            if await sandbox.image == name { users.append(sandbox.project) }
        }
        try await host.images.remove(name, users: users.sorted())
    }

    // MARK: the daemon's own life

    /// Takes up the containers of an earlier run of the daemon and removes what is left of others. Call once, at start.
    public func recover() async throws {
        let (records, broken) = try await BlockingPool.shared.run { [host] in host.ledger.load() }
        for name in broken {
            let slot = reserve(name)
            logger.error(
                "a project's record cannot be read; its files are left alone until the project is used again",
                metadata: ["project": "\(name)", "slot": "\(slot.map(String.init) ?? "unknown")"])
        }
        let known = Set(records.map { host.paths.project($0.spec.project).name }).union(broken)
        do {
            try await BlockingPool.shared.run { [host] in try host.disk.closeOrphans(host.paths, keeping: known) }
        } catch {
            logger.error("disks of projects that are no more cannot be closed", metadata: ["error": "\(error)"])
        }
        let live = Set(try await host.runtime.list().filter(\.isRunning).map(\.container))
        for record in records {
            add(Sandbox(record, slot: try host.block.slot(record.slot), host: host))
            know(record)
        }
        await endPending(of: records)
        await endUnleased(records)
        let all = Array(sandboxes.values)
        await Self.forEach(all) { await $0.recover(live: live) }
        try await removeLeftovers()
        try await settleTrees(of: records)
        await host.removeSearchGroups(except: Set(sandboxes.keys))
        await host.emptyTrash()
        await removeUnregisteredImages()
        await settleSwitches()
        await keepLease()
    }

    /// Puts the firewall in force again when somebody changed it, or when Docker was started since. Cheap; call every few seconds.
    public func checkNetwork() async throws { try await host.firewall.check() }

    /// Tries again to remove what could not be removed, each with growing pauses. Call every few seconds.
    public func retryRemovals(_ now: ContinuousClock.Instant = .now) async {
        guard !isClosed else { return }
        await host.retryRemains(now)
        await host.emptyTrash()
    }

    /// Returns once the manager has time for it: one that never has is stuck, and its daemon with it.
    public func answer() {}

    /// Lets go of the containers, which run on: for the end of the daemon. `recover` takes them up again.
    public func close() async {
        isClosed = true
        await Self.forEach(Array(sandboxes.values)) { await $0.release() }
    }

    /// Removes containers, network rules, mounts and control groups. Projects and images stay on disk.
    public func tearDownAll() async throws {
        isClosed = true
        await Self.forEach(Array(sandboxes.values)) {
            await $0.stop(reason: "The node was taken down; files are kept.")
        }
        try await host.removeLeftovers(keeping: [:], owners: await lastContainers())
        // What still runs must not run without its rules, nor under addresses that somebody else gets.
        try await host.clearAllRemains()
        try await host.removeEverything()
        host.lease.forget()
    }

    /// Gives the instance's addresses and ids back. Only after `tearDownAll`, and when the projects' files are removed too.
    public func releaseBlock() throws { try registry.release() }

    private func settleTrees(of records: [ProjectRecord]) async throws {
        let projects = records.map { host.paths.project($0.spec.project) }
        host.removeLater(try await BlockingPool.shared.run { [host] in projects.compactMap(host.settleTrees) })
    }

    /// Keeps others from a slot whose ids own somebody's files, and the slot for whom they belong to.
    private func reserve(_ name: String) -> Int? {
        guard let project = ProjectID(name) else { return nil }
        let paths = host.paths.project(project)
        guard let owner = Directories.owner(paths.hasDisk ? paths.disk : paths.workspace) else { return nil }
        reserved[project] = host.block.slotIndex(ofUser: owner)
        return reserved[project]
    }

    private func removeLeftovers() async throws {
        var kept: [ContainerID: Slot] = [:]
        for sandbox in sandboxes.values {
            if let container = await sandbox.container { kept[container] = sandbox.slot }
        }
        try await host.removeLeftovers(keeping: kept, owners: await lastContainers())
    }

    /// The last incarnation of each project, whatever became of it.
    private func lastContainers() async -> [ContainerID: Slot] {
        var owners: [ContainerID: Slot] = [:]
        for sandbox in sandboxes.values {
            if let container = await sandbox.lastContainer { owners[container] = sandbox.slot }
        }
        return owners
    }

    /// A few at a time: each takes processes of the host.
    static func forEach(_ sandboxes: [Sandbox], _ body: @escaping @Sendable (Sandbox) async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            var rest = sandboxes[...]
            for sandbox in rest.prefix(Limits.containersStoppedAtOnce) { group.addTask { await body(sandbox) } }
            rest = rest.dropFirst(Limits.containersStoppedAtOnce)
            while await group.next() != nil, let sandbox = rest.popFirst() { group.addTask { await body(sandbox) } }
        }
    }

    private func add(_ sandbox: Sandbox) {
        sandboxes[sandbox.project] = sandbox
        activities.withLock { $0[sandbox.project] = sandbox.activity }
    }

    private func sandbox(for spec: ContainerSpec) throws -> Sandbox {
        guard !isClosed else {
            throw FastableError(.unavailable, "The node is going down. Try again later.", retryAfterSeconds: 5)
        }
        try departures.check(spec.project, stay: spec.stay ?? 0)
        if let known = sandboxes[spec.project] { return known }
        guard !deleted.contains(spec.project) else {
            throw FastableError(.gone, "The project ‘\(spec.project)’ was deleted. Create a new one.")
        }
        guard let blocked = host.remains.blockedSlots else {
            throw FastableError(
                .unavailable,
                "The node could not remove what is left of an earlier container, and takes no new project before that is done. It "
                    + "tries again by itself; its log tells what is in the way.",
                retryAfterSeconds: Limits.removalRetryFirstSeconds)
        }
        let taken = blocked.union(sweptSlots).union(sandboxes.values.map(\.slot.index)).union(reserved.values)
        let free =
            reserved[spec.project] ?? (0..<Limits.projectsPerNode).first { !taken.contains($0) }
            ?? Limits.projectsPerNode
        let record = ProjectRecord(
            spec: spec, slot: free, image: spec.image, state: .absent, reason: "There was no container yet.",
            changedAt: Date())
        let made = Sandbox(record, slot: try host.block.slot(free), host: host)
        add(made)
        know(record)
        reserved[spec.project] = nil
        return made
    }
}
