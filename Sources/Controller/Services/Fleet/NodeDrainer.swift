import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Moves the projects of nodes that are drained to others, some at a time. It takes no input but what is stored, so it goes on after a
/// restart, and any round may be missed. What fails stays where it is, says why, and is tried again with growing pauses.
package final class NodeDrainer: Sendable {
    /// What is known of one project of a drain.
    struct Progress: Sendable {
        var attempts = 0
        var retryAt: ContinuousClock.Instant?
        /// Why it was not moved yet.
        var failure: FastableError?
        var task: Task<Void, Never>?
    }

    private struct State {
        var drains: [NodeID: [ProjectID: Progress]] = [:]
        /// Which nodes were linked at the last look.
        var linked: Set<NodeID> = []

        /// Who waits, or has failed, is tried at once.
        mutating func tryAgain(on node: NodeID) {
            for project in (drains[node] ?? [:]).keys { drains[node]?[project]?.retryAt = nil }
        }
    }

    private let store: any Store
    private let archiver: ProjectArchiver
    private let conditions: NodeConditions
    private let events: EventLog
    private let metrics: Metrics
    private let logger: Logger
    private let state = Mutex(State())

    init(
        store: any Store, archiver: ProjectArchiver, conditions: NodeConditions, events: EventLog, metrics: Metrics,
        logger: Logger
    ) {
        self.store = store
        self.archiver = archiver
        self.conditions = conditions
        self.events = events
        self.metrics = metrics
        self.logger = logger
    }

    /// Returns when its task is cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await every(.milliseconds(Limits.drainLookMilliseconds)) { await round() } }
            group.addTask { [self] in await every(.seconds(Limits.moveRetryFirstSeconds)) { await settleMoves() } }
            group.addTask { [archiver] in
                await every(.seconds(Limits.remainsSweepSeconds)) { await archiver.sweepRemains() }
            }
        }
        for task in state.withLock({ $0.drains.values.flatMap { $0.values.compactMap(\.task) } }) {
            task.cancel()
            await task.value
        }
    }

    private func settleMoves() async {
        do { try await archiver.settleMoves() } catch {
            logger.warning("Moves of projects cannot be looked at.", metadata: ["error": "\(error)"])
        }
    }

    // MARK: beginning and ending

    /// - Parameters:
    ///   - deadlineSeconds: what works in containers may go on for so long; for ever when it is `nil`.
    ///   - forced: go on from their last snapshot when their content cannot be saved.
    func begin(_ node: NodeRecord, deadlineSeconds: Int?, forced: [ProjectID] = []) async throws -> NodeRecord {
        let now = Date.nowMilliseconds
        let known = Set(try await store.activeProjects(forced).map(\.id))
        if let unknown = forced.first(where: { !known.contains($0) }) {
            throw FastableError.missing(.project, unknown.description)
        }
        let count = try await store.nodeLoads(for: .system)[node.id]?.projects ?? 0
        let drain = NodeDrain(
            startedAt: node.drain?.startedAt ?? now,
            deadline: deadlineSeconds.map { now.addingTimeInterval(Double($0)) },
            projects: max(count, node.drain?.projects ?? 0), forced: forced.isEmpty ? nil : forced)
        let draining = try await store.setDrain(drain, of: node.id)
        state.withLock { $0.tryAgain(on: node.id) }
        await conditions.changed(node.id)
        return draining
    }

    /// The node keeps what it has. A move whose project was given up already goes on to its end.
    func cancel(_ node: NodeID) async {
        let tasks = state.withLock { $0.drains.removeValue(forKey: node)?.values.compactMap(\.task) ?? [] }
        for task in tasks { task.cancel() }
        await conditions.changed(node)
    }

    // MARK: what happens by itself

    package func round(now: ContinuousClock.Instant = .now) async {
        do {
            let draining = try await store.drainingNodes()
            if !draining.isEmpty { noteLinks() }
            var left = 0
            for node in draining { left += try await look(at: node, now) }
            metrics.set(.drainedProjectsLeft, Double(left))
            let ids = Set(draining.map(\.id))
            for gone in state.withLock({ $0.drains.keys.filter { !ids.contains($0) } }) { await cancel(gone) }
        } catch {
            logger.warning("Nodes that are drained cannot be looked at.", metadata: ["error": "\(error)"])
        }
    }

    /// What failed may work with a node that was not there before.
    private func noteLinks() {
        let linked = Set(archiver.projects.nodes.connectedNodes().map(\.id))
        state.withLock { state in
            defer { state.linked = linked }
            guard !linked.isSubset(of: state.linked) else { return }
            for node in state.drains.keys { state.tryAgain(on: node) }
        }
    }

    private func look(at node: NodeRecord, _ now: ContinuousClock.Instant) async throws -> Int {
        let projects = try await allProjects(on: node.id)
        guard !projects.isEmpty else {
            let isMoving = state.withLock { $0.drains[node.id]?.values.contains { $0.task != nil } ?? false }
            guard !isMoving else { return 0 }
            // What is being deleted, or comes to the node just now, is waited for.
            guard try await store.endDrain(of: node.id, at: .nowMilliseconds) else { return 0 }
            state.withLock { $0.drains[node.id] = nil }
            await conditions.changed(node.id)
            logger.notice("A node was drained.", metadata: ["node": "\(node.id)", "name": "\(node.name)"])
            return 0
        }
        let movable = projects.filter { $0.archive == nil && !archiver.projects.isFilling($0.id) }
        let due = state.withLock { state in
            let known = state.drains[node.id, default: [:]]
            // Of those that are gone nothing is kept.
            state.drains[node.id] = known.filter { entry in
                entry.value.task != nil || projects.contains { $0.id == entry.key }
            }
            let items = movable.map { project in
                DrainSchedule.Item(
                    project.id, isUnderWay: known[project.id]?.task != nil, retryAt: known[project.id]?.retryAt)
            }
            return DrainSchedule.due(items, places: Limits.drainMovesAtOnce, now: now)
        }
        for project in movable where due.contains(project.id) { start(project, node) }
        return projects.count
    }

    private func allProjects(on node: NodeID) async throws -> [Project] {
        var all: [Project] = []
        while true {
            let page = try await store.projects(on: node, after: all.last?.id, limit: Limits.pageRows)
            all += page
            if page.count < Limits.pageRows { return all }
        }
    }

    private func start(_ project: Project, _ node: NodeRecord) {
        state.withLock { state in
            var progress = state.drains[node.id]?[project.id] ?? Progress()
            guard progress.task == nil else { return }
            progress.task = Task { await self.move(project, node) }
            state.drains[node.id, default: [:]][project.id] = progress
        }
    }

    private func move(_ project: Project, _ node: NodeRecord) async {
        let isUrgent = node.drain?.isUrgent(at: .nowMilliseconds) ?? false
        let isForced = node.drain?.forced?.contains(project.id) ?? false
        do {
            _ = try await archiver.move(project, off: node.id, isUrgent: isUrgent, isForced: isForced)
            // Before the drain can be over: whoever follows hears of its end last.
            await tell(project, node, nil)
            state.withLock { _ = $0.drains[node.id]?.removeValue(forKey: project.id) }
        } catch {
            let failure = FastableError.unexpected(error, doing: "moving the project")
            let isNews = note(failure, of: project.id, on: node.id)
            if isNews { await tell(project, node, failure) }
        }
    }

    /// - Returns: whether that is to be told: it failed, and not for the same reason as before.
    private func note(_ failure: FastableError, of project: ProjectID, on node: NodeID) -> Bool {
        state.withLock { state in
            // The drain was taken back, or is over.
            guard var progress = state.drains[node]?[project] else { return false }
            let isWaiting = failure.code == .conflict
            let isNews = !isWaiting && failure.code != .cancelled && progress.failure?.message != failure.message
            progress.attempts = isWaiting ? 0 : progress.attempts + 1
            progress.failure = failure
            progress.task = nil
            let pause = isWaiting ? Limits.drainWaitSeconds : Self.pauseSeconds(after: progress.attempts)
            progress.retryAt = .now + .seconds(pause)
            state.drains[node]?[project] = progress
            return isNews
        }
    }

    private static func pauseSeconds(after attempts: Int) -> Int {
        min(Limits.moveRetryLongestSeconds, Limits.moveRetryFirstSeconds << min(max(0, attempts - 1), 16))
    }

    private func tell(_ project: Project, _ node: NodeRecord, _ failure: FastableError?) async {
        let now = Date.nowMilliseconds
        let left = (try? await store.nodeLoads(for: .system)[node.id]?.projects ?? 0) ?? 0
        if let failure {
            logger.warning(
                "A project could not be moved off a node.",
                metadata: ["project": "\(project.id)", "node": "\(node.id)", "error": "\(failure)"])
            await events.publish(.moveFailed(project, failure, at: now))
        }
        await events.publish(.drainProgress(of: node, left: left, project: project, error: failure, at: now))
    }

    // MARK: for people

    /// How far the projects of a drain are, as far as they are not moved yet.
    func report(on node: NodeID) async throws -> [NodeDrainView.Entry] {
        let projects = try await store.projects(on: node, after: nil, limit: Limits.drainProjectsShown)
        let known = state.withLock { $0.drains[node] ?? [:] }
        return projects.map { project in
            let progress = known[project.id]
            let stage = archiver.stage(of: project.id)
            return NodeDrainView.Entry(
                project: project.id, name: project.name, workspace: project.workspace,
                state: progress?.task != nil
                    ? .moving : progress?.failure == nil || progress?.failure?.code == .conflict ? .waiting : .failed,
                message: progress?.task != nil ? stage?.message : progress?.failure?.message,
                fraction: progress?.task != nil ? stage?.fraction : nil)
        }
    }
}

private func every(_ pause: Duration, _ body: () async -> Void) async {
    while !Task.isCancelled {
        await body()
        try? await Task.sleep(for: pause)
    }
}
