public import FastableCore
import Glibc
import Logging
import NodeLinux

/// Puts kill switches in force: first in memory, where every start looks, then on disk, then on what runs.
extension SandboxManager {
    /// How far this node is with its switches.
    public nonisolated var switchState: NodeSwitchState { host.board.nodeState }

    /// Throws `unavailable` when a switch lets the project start nothing.
    public nonisolated func checkStart(_ spec: ContainerSpec) throws(FastableError) {
        try host.board.checkStart(spec.project, of: spec.workspace)
    }

    /// The same for a project that the node has.
    public func checkStart(_ project: ProjectID) async throws {
        guard let workspace = await sandboxes[project]?.workspace else { return }
        try host.board.checkStart(project, of: workspace)
    }

    /// Puts the controller's switches in force, unless a newer set is. Returns when all that it kills has ended, or shortly before the
    /// controller stops waiting.
    public func apply(_ order: KillOrder) async -> KillAnswer {
        host.board.change { $0.take(order.set) }
        return await settleSwitches(asked: order.asked)
    }

    /// The same for the switch of the host itself; `false` when something of it is not in force.
    @discardableResult
    public func apply(local: KillSwitch?) async -> Bool {
        guard host.board.local != local else { return true }
        if let local {
            logger.notice(
                "the host's kill switch is on",
                metadata: ["mode": "\(local.mode.rawValue)", "by": "\(local.by)", "reason": "\(local.reason)"])
        } else {
            logger.notice("the host's kill switch is off")
        }
        host.board.change { $0.setLocal(local) }
        return await settleSwitches(asked: local?.id).problem == nil
    }

    /// Does what the switches that are in force still ask for. Cheap when that is nothing; call every few seconds.
    @discardableResult
    public func settleSwitches(asked: KillSwitchID? = nil) async -> KillAnswer {
        let board = host.board
        var problems: [String] = []
        // Before anything ends: what was begun is finished after a crash.
        if !(await board.store()) {
            problems.append("The node's disk does not take the switch: it is in force until the daemon ends.")
        }
        async let cut = updateNetworks(asked: asked)
        let runs = board.pending.map { ($0.id, carryOut($0)) }
        var receipts: [KillReceipt] = []
        for (id, run) in runs {
            let some = await run.value
            if id == asked { receipts += some }
        }
        let (reached, failure) = await cut
        receipts += reached
        if let failure {
            logger.error("the network of containers cannot be switched", metadata: ["error": "\(failure)"])
            problems.append("The node's firewall could not be changed; it tries again by itself.")
        }
        return KillAnswer(
            state: board.nodeState, receipts: receipts.sorted { $0.project < $1.project },
            problem: problems.isEmpty ? nil : problems.joined(separator: " "))
    }

    /// One run of a kill at a time; whoever asks again shares it.
    private func carryOut(_ kill: KillSwitch) -> Task<[KillReceipt], Never> {
        if let running = kills[kill.id] { return running }
        let run = Task {
            let receipts = await end(kill)
            if receipts.allSatisfy({ $0.effect == .ended }) { await host.board.storeCarriedOut(kill.id) }
            kills[kill.id] = nil
            return receipts
        }
        kills[kill.id] = run
        return run
    }

    private func end(_ kill: KillSwitch) async -> [KillReceipt] {
        let deadline = ContinuousClock.now + .milliseconds(killProofMilliseconds)
        if case .exec(let exec, let project) = kill.scope { return [await end(exec, of: project, by: deadline)] }
        let began = ContinuousClock.now
        var doomed: [Sandbox.Doomed] = []
        let reason = "It was ended by \(kill.by) (\(kill.id)): “\(kill.reason)”. Files are kept."
        for sandbox in Array(sandboxes.values) {
            guard NodeSwitchBook.covers(kill, sandbox.project, await sandbox.workspace) else { continue }
            if let found = await sandbox.doom(reason: reason) { doomed.append(found) }
        }
        let receipts = await host.end(doomed, by: deadline)
        logger.notice(
            "a kill switch ended containers",
            metadata: [
                "switch": "\(kill.id)", "scope": "\(kill.scope.kind.rawValue)", "containers": "\(receipts.count)",
                "unconfirmed": "\(receipts.count { $0.effect == .unconfirmed })",
                "took": "\(ContinuousClock.now - began)",
            ])
        return receipts
    }

    private func end(_ exec: ExecID, of project: ProjectID, by deadline: ContinuousClock.Instant) async -> KillReceipt {
        // First, so that it never starts when it has not yet.
        ended.insert(exec)
        let late = KillReceipt(project: project, container: nil, exec: exec, execs: 0, effect: .unconfirmed)
        let (answers, answer) = AsyncStream.makeStream(of: KillReceipt.self)
        // It goes on when its time is over: nobody can hurry a container that wakes.
        Task { answer.yield(await endAwake(exec, of: project)) }
        let limit = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            answer.yield(late)
        }
        defer {
            limit.cancel()
            answer.finish()
        }
        return await answers.first { _ in true } ?? late
    }

    /// A container that sleeps has to be woken for it, which takes its time.
    private func endAwake(_ exec: ExecID, of project: ProjectID) async -> KillReceipt {
        var receipt = KillReceipt(project: project, container: nil, exec: exec, execs: 0, effect: .ended)
        do {
            guard let container = try await awake(project, toEnd: true) else {
                // Of a container that failed, processes may be left.
                if let last = await sandboxes[project]?.lastContainer, !host.cgroups.isEmpty(host.group(last)) {
                    receipt.effect = .unconfirmed
                }
                return receipt
            }
            receipt.container = container.id
            receipt.execs = ((try? await container.execs.status(exec).running) ?? false) ? 1 : 0
            try await container.execs.kill(exec, signal: 9)
        } catch {
            // Nothing of it is there, or all of its container is gone.
            let code = (error as? FastableError)?.code
            if code != .notFound, code != .gone { receipt.effect = .unconfirmed }
        }
        return receipt
    }

    /// Cuts and opens networks, and tells what the switch that was asked for has reached.
    private func updateNetworks(asked: KillSwitchID?) async -> ([KillReceipt], (any Error)?) {
        var failure: (any Error)?
        do { try await host.firewall.updateCut() } catch { failure = error }
        guard asked != nil else { return ([], failure) }
        var receipts: [KillReceipt] = []
        for sandbox in Array(sandboxes.values) {
            guard host.board.cutsNetwork(of: sandbox.project, in: await sandbox.workspace, by: asked) else { continue }
            guard var receipt = await sandbox.cutOff() else { continue }
            if failure != nil { receipt.effect = .unconfirmed }
            receipts.append(receipt)
        }
        return (receipts, failure)
    }

    /// Ends what an earlier run of the daemon was told to end, before anybody connects to it.
    func endPending(of records: [ProjectRecord]) async {
        let pending = host.board.pending
        guard !pending.isEmpty else { return }
        let doomed = records.filter { record in
            pending.contains { NodeSwitchBook.covers($0, record.spec.project, record.spec.workspace) }
        }
        let groups = doomed.compactMap { $0.container.map { host.group($0) } }
        try? await BlockingPool.shared.run { [cgroups = host.cgroups] in
            for group in groups { try? cgroups.kill(group) }
        }
    }

    // MARK: idle containers

    /// Gives back what containers hold that nobody has used for so long.
    public func sweepIdle(
        _ sweep: IdleSweep, now: ContinuousClock.Instant = .now
    ) async -> IdleSweepResult {
        var sum = IdleSweepResult()
        for sandbox in Array(sandboxes.values) {
            let one = await sandbox.restWhenIdle(for: .seconds(sweep.idleSeconds), now: now)
            sum.suspended += one.suspended
            sum.stopped += one.stopped
            sum.kept += one.kept
        }
        return sum
    }
}

extension SandboxHost {
    /// Kills the control groups of all of them at once, and waits until each is empty. Their removal goes on behind this.
    func end(_ doomed: [Sandbox.Doomed], by deadline: ContinuousClock.Instant) async -> [KillReceipt] {
        guard !doomed.isEmpty else { return [] }
        let groups = doomed.filter { !$0.isStarting }.map { group($0.container) }
        async let starting = ended(doomed.filter(\.isStarting), by: deadline)
        let left = try? await BlockingPool.shared.run { [cgroups] in
            for group in groups { try? cgroups.kill(group) }
            var left = Set(groups)
            while true {
                left = left.filter { !cgroups.isEmpty($0) }
                guard !left.isEmpty, ContinuousClock.now < deadline else { return left }
                usleep(2000)
            }
        }
        let stillStarting = await starting
        return doomed.map { one in
            let isLeft =
                one.isStarting
                ? stillStarting.contains(one.container) : left?.contains(group(one.container)) ?? true
            return KillReceipt(
                project: one.project, container: one.container, execs: one.execs,
                effect: isLeft ? .unconfirmed : .ended)
        }
    }

    /// Waits for the ends of starts that were cut short; gives those that are left.
    private func ended(_ doomed: [Sandbox.Doomed], by deadline: ContinuousClock.Instant) async -> Set<ContainerID> {
        guard !doomed.isEmpty else { return [] }
        let (ends, continuation) = AsyncStream.makeStream(of: ContainerID?.self)
        // Not children of this: a removal that takes longer goes on, and nobody waits for it.
        for one in doomed {
            Task {
                await one.sandbox.endOfRemoval()
                continuation.yield(one.container)
            }
        }
        let timer = Task {
            try? await Task.sleep(until: deadline, clock: .continuous)
            continuation.yield(nil)
        }
        defer { timer.cancel() }
        var left = Set(doomed.map(\.container))
        for await end in ends {
            guard let end else { break }
            left.remove(end)
            if left.isEmpty { break }
        }
        return left
    }
}
