import FastableCore
import FoundationEssentials
import Logging
import NodeLinux

/// One project on this node. Performs what `SandboxStateMachine` decides.
actor Sandbox {
    nonisolated let project: ProjectID
    nonisolated let slot: Slot
    let host: SandboxHost
    let logger: Logger
    var machine = SandboxStateMachine()
    var record: ProjectRecord
    var running: Running?
    /// The last start and the last removal of a container. Both end by themselves: each of their steps has a deadline.
    private var start: Task<RunningContainer, any Error>?
    private var removal: Task<Void, Never>?
    private var deletion: Task<Void, any Error>?
    var volumeMade = false
    private let directory = ProjectDirectory()
    /// The project's directory was taken away; from then on there is no way back.
    private var isDeleted = false
    /// Its files, until they are removed.
    private var discarded: String?
    private var timer: Task<Void, Never>?

    struct Running {
        let container: RunningContainer
        let process: ProcessIdentity
        let watch: ExitWatch
        let imageEnvironment: [String: String]
    }

    init(_ record: ProjectRecord, slot: Slot, host: SandboxHost) {
        project = record.spec.project
        self.slot = slot
        self.host = host
        self.record = record
        var logger = host.logger
        logger[metadataKey: "project"] = "\(record.spec.project)"
        self.logger = logger
    }

    // MARK: what others want

    /// The running container, made or started when there is none. Callers that come meanwhile share one start.
    func ensure(_ spec: ContainerSpec) async throws -> RunningContainer {
        while true {
            try checkNotDeleted()
            // No other step comes between this and the machine: who ends the container later finds it starting.
            try checkSwitches(spec)
            switch machine.ensure(new: ContainerID(), now: .now) {
            case .use: return try await use(spec)
            case .start(let id):
                let task = Task { try await perform(id, spec) }
                start = task
                watchDeadline()
                return try await task.value
            case .join:
                guard let start else { throw lostTrack }
                return try await start.value
            case .waitForEnd: await endOfRemoval()
            case .refuse(let error): throw error
            }
        }
    }

    /// The container as it runs, with what the wish may change without a new one.
    private func use(_ spec: ContainerSpec) async throws -> RunningContainer {
        guard let running else { throw lostTrack }
        let limits = try spec.limits.validated()
        if limits != record.spec.limits {
            try await host.runtime.update(running.container.id, limits: limits, limitsSwap: host.cgroups.limitsSwap)
            record.spec.limits = limits
            try await save()
        }
        var container = running.container
        container.environment = running.imageEnvironment.merging(spec.environment) { $1 }
        return container
    }

    private var lostTrack: FastableError {
        FastableError(.internal, "The node lost track of the container. Try again.", context: "\(machine.state)")
    }

    /// Ids and addresses of a deleted project go to another one: nothing may be made under them any more.
    private func checkNotDeleted() throws {
        guard isDeleted || machine.publicState == .deleting else { return }
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
    func release() async { await running.take()?.container.execs.close() }

    /// A command of this project, running or ended.
    func exec(_ exec: ExecID) async throws -> ExecSession {
        if let running { return try await running.container.execs.session(exec) }
        let store = ExecStore(directory: host.paths.project(project).execs)
        guard let record = try await BlockingPool.shared.run({ try store.read(exec) }) else {
            throw FastableError(.notFound, "There is no command \(exec) in this project.")
        }
        return ExecSession(record, store: store)
    }

    /// Removes container and files.
    func delete() async throws {
        let task: Task<Void, any Error>
        // One that took too long may still be under way.
        let earlier = deletion
        switch machine.delete(now: .now) {
        case .join:
            guard let deletion else { return }
            return try await deletion.value
        case .cancelStartThenRemove:
            start?.cancel()
            task = Task { try await performDeletion(nil, after: earlier) }
        case .remove(let id): task = Task { try await performDeletion(id, after: earlier) }
        }
        deletion = task
        watchDeadline()
        try await task.value
    }

    /// The project's files, made on first use.
    func volume() async throws -> ProjectVolume {
        try checkNotDeleted()
        if !volumeMade {
            let record = record
            try await BlockingPool.shared.run { [host, slot, project, directory] in
                try directory.write {
                    try host.ledger.save(record)
                    try host.makeVolume(host.paths.project(project), slot: slot)
                }
            }
            try checkNotDeleted()
            volumeMade = true
        }
        return ProjectVolume(project: project, paths: host.paths.project(project), uidBase: slot.uidBase)
    }

    var image: String { record.image }
    var current: RunningContainer? { running?.container }
    var container: ContainerID? { machine.container }
    var lastContainer: ContainerID? { record.container }

    func status() -> ContainerStatus {
        ContainerStatus(
            project: project, state: machine.publicState, container: machine.container, image: record.image,
            startedAt: running == nil ? nil : record.startedAt, reason: machine.reason, limits: record.spec.limits,
            runningExecs: running?.container.execs.runningCount ?? 0)
    }

    // MARK: what happens

    private func perform(_ id: ContainerID, _ spec: ContainerSpec) async throws -> RunningContainer {
        do {
            // What is left of the last incarnation goes first, also when it took too long.
            await removal?.value
            try await host.clearRemains(of: slot)
            let began = ContinuousClock.now
            let running = try await bringUp(id, spec)
            guard machine.started(id) == .serve else {
                await running.container.execs.close(containerEnded: true)
                // The steps back must be taken although this task may have been cancelled.
                await Task { [host, slot] in _ = await host.dismantle(id, slot: slot, process: running.process) }.value
                throw FastableError(.cancelled, "The container was stopped while it started.")
            }
            self.running = running
            record.startedAt = Date()
            record.process = running.process
            try await keep(id, running)
            logger.info(
                "container started", metadata: ["container": "\(id)", "took": "\(ContinuousClock.now - began)"])
            return running.container
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
        case .absent, .creating, .running, .stopping, .stopped, .deleting:
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
    private func remove(_ id: ContainerID) {
        let ending = running.take()
        watchDeadline()
        removal = Task { [previous = removal] in
            await previous?.value
            await ending?.container.execs.close(containerEnded: true)
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

    private func performDeletion(_ id: ContainerID?, after earlier: Task<Void, any Error>?) async throws {
        do {
            _ = await earlier?.result
            _ = await start?.result
            await removal?.value
            let ending = running.take()
            await ending?.container.execs.close(containerEnded: true)
            if let id { await host.dismantle(id, slot: slot, process: ending?.process) }
            try await host.clearRemains(of: slot)
            try await removeFiles()
            machine.deleted()
        } catch {
            let failure = FastableError.unexpected(error, doing: "deleting the project")
            machine.deletionFailed(reason: failure.message)
            try? await save()
            throw failure
        }
    }

    /// Takes the files away in one step and removes them then. When that fails, the next deletion goes on with the same files;
    /// what others left in the trash does not matter here.
    private func removeFiles() async throws {
        if !isDeleted {
            discarded = try await BlockingPool.shared.run { [host, directory, project] in
                try directory.takeAway {
                    let path = host.paths.project(project).directory
                    return Directories.exists(path) ? try host.trash.discard(path) : nil
                }
            }
            isDeleted = true
        }
        guard let path = discarded else { return }
        try await host.trash.remove(path)
        discarded = nil
    }

    func endOfRemoval() async {
        _ = await start?.result
        await removal?.value
    }

    func save() async throws {
        record.state = machine.publicState
        record.reason = machine.reason
        let record = record
        try await BlockingPool.shared.run { [host, directory] in
            try directory.write { try host.ledger.save(record) }
        }
    }

    /// Wakes when the state that has just been entered has lasted too long.
    private func watchDeadline() {
        timer?.cancel()
        guard let deadline = machine.deadline else { return }
        timer = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            if !Task.isCancelled { deadlinePassed() }
        }
    }

    private func deadlinePassed() {
        switch machine.deadlinePassed(now: .now) {
        case .cancelStart: start?.cancel()
        case .nothing: break
        }
        watchDeadline()
    }
}
