import FastableCore
import FoundationEssentials
import Logging
import NodeLinux

/// One project on this node. Performs what `SandboxStateMachine` decides.
actor Sandbox {
    nonisolated let project: ProjectID
    nonisolated let slot: Slot
    /// Which of the project's stays on nodes this is.
    nonisolated let stay: Int
    let host: SandboxHost
    let logger: Logger
    nonisolated let activity: ProjectActivity
    var machine = SandboxStateMachine() {
        didSet {
            tellChange(since: oldValue)
            if oldValue.publicState != machine.publicState || oldValue.container != machine.container {
                superviseLater()
            }
        }
    }
    /// Programs that run whenever the container does, those of their runs whose ends are heard, and what is done about them.
    var supervisor = SupervisorStateMachine()
    var watchedRuns: Set<ExecID> = []
    var supervision: Task<Void, Never>?
    var supervisionTimer: Task<Void, Never>?
    /// All commands are being ended: nothing is started again.
    var isEnding = false
    /// Those that ran when it was suspended.
    var frozenCommands: Set<ExecID> = []
    /// What an earlier run of the daemon left is looked at: nothing changes by that.
    var isRecovering = false
    var record: ProjectRecord
    var running: Running?
    /// The last start and the last removal of a container. Both end by themselves: each of their steps has a deadline.
    var start: Task<RunningContainer, any Error>?
    /// Until those who asked for it have it.
    var beingMade: ContainerID?
    /// Those who wait for the present start.
    var startWaiters: Set<Int> = []
    var lastWaiter = 0
    /// The image that the last start had to wait for.
    var wantedImage: String?
    /// The last suspension and the last waking, and the turn of the freezer.
    var freezing: Task<Void, Never>?
    var resuming: Task<Void, any Error>?
    var freezerTurn: Task<Void, any Error>?
    /// The last change of limits, and limits that the present container could not get.
    var limitsTurn: Task<Void, any Error>?
    var refusedLimits: ResourceLimits?
    var removal: Task<Void, Never>?
    var deletion: Task<Void, any Error>?
    var volumeMade = false
    /// The opening of its disk that is under way.
    var opening: Task<Void, any Error>?
    private var settling: Task<Void, any Error>?
    let directory = ProjectDirectory()
    /// What ended commands leave; one for all containers that the project has, one after the other.
    let execStore: ExecStore
    /// The project's directory was taken away; from then on there is no way back.
    var isDeleted = false
    /// It is saved elsewhere and goes: what becomes of it here is no news.
    var isLeaving = false
    var releasing: Task<Void, any Error>?
    /// Its files, until they are removed.
    var discarded: String?
    /// Where its files go instead of being removed.
    var asidePath: String?
    private var timer: Task<Void, Never>?
    private var storeCount: UInt64 = 0

    struct Running {
        /// Absent for one that stood still when the daemon started: it is talked to when it is woken.
        var container: RunningContainer?
        let process: ProcessIdentity
        let watch: ExitWatch
        var imageEnvironment: [String: String]
    }

    init(_ record: ProjectRecord, slot: Slot, host: SandboxHost) {
        project = record.spec.project
        self.slot = slot
        self.host = host
        self.record = record
        stay = record.spec.stay ?? 0
        activity = ProjectActivity(
            record.desired, limits: LimitWatch(record.limitHits ?? []),
            files: FileUses(lastAt: record.filesUsedAt ?? record.changedAt ?? Date(), notedAt: record.filesUsedAt))
        var logger = host.logger
        logger[metadataKey: "project"] = "\(record.spec.project)"
        self.logger = logger
        execStore = ExecStore(directory: host.paths.project(project).execs, logger: logger)
        activity.limits.onHit { [weak self] tally in Task { await self?.came(to: tally) } }
    }

    // MARK: what others want

    /// The running container, made or started when there is none. Callers that come meanwhile share one start.
    ///
    /// - Parameter listener: told how far it is.
    func ensure(_ spec: ContainerSpec, telling listener: StartListener? = nil) async throws -> RunningContainer {
        while true {
            try checkNotDeleted()
            // No other step comes between this and the machine: who ends the container later finds it starting.
            try checkSwitches(spec)
            try checkLease(spec.lifecycle)
            set(wish: .onDemand)
            switch machine.ensure(new: ContainerID(), now: .now) {
            case .use: return try await use(spec)
            case .start(let id):
                let task = Task { try await perform(id, spec) }
                start = task
                startWaiters = []
                watchDeadline()
                return try await result(of: task, id, telling: listener)
            case .join(let id):
                guard let start else { throw lostTrack }
                return try await result(of: start, id, telling: listener)
            case .wake(let action): try await follow(action)
            case .waitForEnd: await endOfRemoval()
            case .refuse(let error): throw error
            }
        }
    }

    /// The container as it runs, with what the wish may change without a new one.
    private func use(_ spec: ContainerSpec) async throws -> RunningContainer {
        guard let running, var container = running.container else { throw lostTrack }
        let limits = try spec.limits.validated()
        // Before anything that makes this revision the present one.
        let isSupervisedAnew = takeSupervised(spec.supervised, revision: spec.revision)
        if takePolicy(spec.lifecycle, revision: spec.revision) || isSupervisedAnew { saveLater() }
        if isSupervisedAnew { superviseLater() }
        try await takeLimits(limits, revision: spec.revision)
        container.environment = running.imageEnvironment.merging(spec.environment) { $1 }
        return container
    }

    private var lostTrack: FastableError {
        FastableError(.internal, "The node lost track of the container. Try again.", context: "\(machine.state)")
    }

    /// Ids and addresses of a deleted project go to another one: nothing may be made under them any more.
    func checkNotDeleted() throws {
        guard isDeleted || isLeaving || machine.publicState == .deleting else { return }
        throw FastableError(.conflict, "The project is being deleted from the node.", retryAfterSeconds: 1)
    }

    /// Ends the container; the project's files stay.
    func stop(reason: String) async {
        beginStop(reason: reason)
        await endOfRemoval()
    }

    /// From here on nothing starts that its end would not end.
    func beginStop(reason: String) {
        switch machine.stop(reason: reason, now: .now) {
        case .cancelStart:
            start?.cancel()
            watchDeadline()
        case .stop(let id): remove(id)
        case .waitForEnd, .nothing: break
        }
    }

    /// Lets go of the container, which runs on.
    func release() async { await running.take()?.container?.execs.close() }

    /// A command of this project, running or ended.
    func exec(_ exec: ExecID) async throws -> ExecSession {
        if let container = running?.container { return try await container.execs.session(exec) }
        let found = try await BlockingPool.shared.run { [execStore] in
            try execStore.read(exec).map { (isComplete: $0.isComplete, session: ExecSession($0, store: execStore)) }
        }
        // Of a command that may still run only the container's init knows.
        if found?.isComplete != true, running != nil, let container = try await awake() {
            return try await container.execs.session(exec)
        }
        guard let found else {
            throw FastableError(.notFound, "There is no command \(exec) in this project.")
        }
        return found.session
    }

    /// The project's files, made on first use.
    func volume() async throws -> ProjectVolume {
        try checkNotDeleted()
        if !volumeMade {
            try await store()
            try await openDisk()
            try await BlockingPool.shared.run { [host, slot, project, directory] in
                try directory.write { try host.makeVolume(host.paths.project(project), slot: slot) }
            }
            try await settleTrees()
            try checkNotDeleted()
            volumeMade = true
        }
        return ProjectVolume(project: project, paths: host.paths.project(project), uidBase: slot.uidBase)
    }

    /// Once, before anybody uses the files: at the daemon's start the disk may not have been open.
    private func settleTrees() async throws {
        let task =
            settling
            ?? Task { [host, project] in
                let found = try await BlockingPool.shared.run { host.settleTrees(in: host.paths.project(project)) }
                host.removeLater(found.map { [$0] } ?? [])
            }
        settling = task
        try await task.value
    }

    /// Callers that come meanwhile share one attempt.
    func openDisk() async throws {
        try checkNotDeleted()
        let task =
            opening
            ?? Task { [host, slot, project, record] in
                let wanted = record.spec.limits.diskBytes
                try await host.disk.open(host.paths.project(project), owner: slot.uidBase, wanted: wanted)
            }
        opening = task
        defer { if opening == task { opening = nil } }
        try await task.value
    }

    var image: String { record.image }
    var container: ContainerID? { machine.container }
    var lastContainer: ContainerID? { record.container }

    func status() -> ContainerStatus {
        let queued = machine.container.flatMap { host.starts.place(of: $0) }
        let start = startProgress
        return ContainerStatus(
            project: project, state: machine.publicState, container: machine.container, image: record.image,
            startedAt: running == nil ? nil : record.startedAt, reason: start?.message ?? machine.reason,
            limits: record.spec.limits,
            runningExecs: running == nil ? 0 : activity.runningCommands.count, since: record.changedAt,
            limitHits: limitHits, restingSince: restingSince,
            disk: diskUse, queue: queued, start: start, supervised: supervisedStatuses)
    }

    // MARK: what happens

    private func perform(_ id: ContainerID, _ spec: ContainerSpec) async throws -> RunningContainer {
        beingMade = id
        defer { if beingMade == id { beingMade = nil } }
        do {
            // What is left of the last incarnation goes first, also when it took too long.
            await removal?.value
            // Another start may be under way by now.
            try Task.checkCancellation()
            try await host.clearRemains(of: slot)
            try await waitForImage(id, spec)
            try await waitForTurn(id, spec)
            defer { host.starts.leave(id) }
            let began = ContinuousClock.now
            let running = try await bringUp(id, spec)
            guard let container = running.container, machine.started(id) == .serve else {
                await running.container?.execs.close(containerEnded: true)
                // The steps back must be taken although this task may have been cancelled.
                await Task { [host, slot] in _ = await host.dismantle(id, slot: slot, process: running.process) }.value
                throw FastableError(.cancelled, "The container was stopped while it started.")
            }
            self.running = running
            record.startedAt = Date()
            record.process = running.process
            activity.runs(host.group(id), container.execs, .start)
            try await keep(id, running)
            logger.info(
                "container started", metadata: ["container": "\(id)", "took": "\(ContinuousClock.now - began)"])
            return container
        } catch {
            let failure = FastableError.unexpected(error, doing: "starting the container")
            machine.startFailed(id, reason: failure.message)
            logger.error("container did not start", metadata: ["container": "\(id)", "error": "\(failure)"])
            try? await save()
            throw startError(failure)
        }
    }

    /// A container that is not on record would not be found again; and its end is not heard while it is still being made.
    private func keep(_ id: ContainerID, _ running: Running) async throws {
        do { try await save() } catch {
            exited(id)
            throw error
        }
        guard running.process.isAlive else {
            exited(id)
            throw FastableError(.unavailable, "The container ended right after its start.", retryAfterSeconds: 1)
        }
    }

    /// A start that was cut short says so, and not that one of its steps was cancelled.
    private func startError(_ error: FastableError) -> FastableError {
        guard error.code == .cancelled else { return error }
        switch machine.state {
        case .failed(let reason): return FastableError(.timeout, reason, context: error.context)
        case .absent, .creating, .running, .suspending, .suspended, .resuming, .stopping, .stopped, .deleting:
            return FastableError(.unavailable, "The container was stopped while it started.", retryAfterSeconds: 1)
        }
    }

    func exited(_ id: ContainerID) {
        let reason = "Its first process ended unexpectedly. It is made again on next use; files are kept."
        guard let id = machine.exited(id, reason: reason, now: .now) else { return }
        logger.warning("container ended by itself", metadata: ["container": "\(id)"])
        remove(id)
    }

    /// Removes the incarnation that the machine says must go.
    func remove(_ id: ContainerID) {
        let ending = running.take()
        activity.ended()
        record.leases = nil
        watchDeadline()
        removal = Task { [previous = removal] in
            await previous?.value
            await ending?.container?.execs.close(containerEnded: true)
            if let failure = await host.dismantle(id, slot: slot, process: ending?.process) {
                machine.removalFailed(
                    id, reason: failure.message + " The node tries again by itself; the next start waits for it.")
            } else {
                machine.removed(id)
            }
            record.process = nil
            try? await save()
        }
    }

    func endOfRemoval() async {
        _ = await start?.result
        await removal?.value
    }

    /// Puts what the machine says into the record, with the time of a change.
    func noteState() {
        if record.state != machine.publicState {
            record.since = .now()
            record.changedAt = Date()
        }
        record.state = machine.publicState
        record.reason = machine.reason
        record.limitHits = limitHits
    }

    func save() async throws {
        noteState()
        try await store()
    }

    private func store() async throws {
        storeCount += 1
        let (record, number) = (record, storeCount)
        try await BlockingPool.shared.run { [host, directory] in
            try directory.write(number) { try host.ledger.save(record) }
        }
    }

    /// Wakes when the state that has just been entered has lasted too long.
    func watchDeadline() {
        timer?.cancel()
        guard let deadline = machine.deadline else { return }
        timer = Task { [weak self] in
            try? await Task.sleep(until: deadline, clock: .continuous)
            if !Task.isCancelled { await self?.deadlinePassed() }
        }
    }

    private func deadlinePassed() {
        switch machine.deadlinePassed(now: .now) {
        case .cancelStart: start?.cancel()
        case .resume(let id): beginResume(id)
        case .end(let id): remove(id)
        case .nothing: break
        }
        watchDeadline()
    }
}
