import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// The kill switches of the fleet: holds what is on, stores it, and tells the nodes, all at once and with a deadline.
///
/// A switch is in force here before it is stored, and is stored before a node hears of it. What a node missed it is sent again: with its
/// welcome when it returns, and after a report that shows it behind.
public final class KillService: Sendable {
    private struct State {
        var book = KillSwitchBook([], now: 0)
        var isLoaded = false
        /// Nodes to which the set is on its way again.
        var telling: Set<NodeID> = []
    }

    let store: any Store
    let nodes: any NodeDirectory
    private let audit: AuditLog
    private let logger: Logger
    private let answerMilliseconds: Int
    private let state = Mutex(State())

    init(
        store: any Store, nodes: any NodeDirectory, audit: AuditLog, configuration: ControllerServices.Configuration,
        logger: Logger
    ) {
        answerMilliseconds = configuration.killAnswerMilliseconds
        self.store = store
        self.nodes = nodes
        self.audit = audit
        self.logger = logger
    }

    private func load() async throws {
        guard !state.withLock({ $0.isLoaded }) else { return }
        let stored = try await store.activeKillSwitches()
        state.withLock { state in
            guard !state.isLoaded else { return }
            state.book = KillSwitchBook(stored, now: WallClock.nowMilliseconds())
            state.isLoaded = true
        }
    }

    private func book() async throws -> KillSwitchBook {
        try await load()
        return state.withLock { $0.book }
    }

    // MARK: what holds

    /// Throws `unavailable`, naming the switch, when the project may start nothing.
    func checkStart(_ project: Project) async throws {
        try await load()
        let held = state.withLock {
            $0.book.refusal(of: project.id, in: project.workspace, on: project.node)
        }
        if let held { throw held.refusal }
    }

    var active: [KillSwitchRecord] {
        get async throws { try await book().active }
    }

    var heldNodes: Set<NodeID> {
        get async throws { try await book().heldNodes }
    }

    func set(for node: NodeID) async throws -> KillSwitchSet { try await book().set(for: node) }

    // MARK: on and off

    /// What is to be switched on, and the nodes that it concerns.
    struct Order: Sendable {
        var scope: KillScope
        var mode: KillSwitch.Mode
        var holds: Bool
        var reason: String
        var workspace: WorkspaceID
        var concerned: [NodeID]
    }

    struct Told: Sendable {
        var record: KillSwitchRecord
        var outcomes: [NodeOutcome]
    }

    /// Switches on and tells the nodes. One that holds the same already is told again. Throws `limit`, and what the store throws.
    func engage(_ order: Order, _ context: OperationContext) async throws -> Told {
        try await load()
        let principal = context.principal
        let wanted = KillSwitch(
            scope: order.scope, mode: order.mode, holds: order.holds, reason: order.reason, by: principal.name,
            owner: principal.holds(.admin) ? .operators : .workspace, since: .nowMilliseconds)
        let (record, isNew) = try state.withLock { state throws(FastableError) -> (KillSwitchRecord, Bool) in
            if let known = state.book.same(as: wanted) { return (known, false) }
            let record = KillSwitchRecord(
                held: wanted, workspace: order.workspace, token: principal.token, awaited: order.concerned)
            return (try state.book.engage(record, now: WallClock.nowMilliseconds()), true)
        }
        if isNew { try await keep(record) }
        let outcomes = await tell(order.concerned, asked: record.held.id, request: context.requestID)
        if record.awaited.isEmpty { await settle([record]) }
        return Told(record: record, outcomes: outcomes)
    }

    private func keep(_ record: KillSwitchRecord) async throws {
        do { try await store.addKillSwitch(record) } catch {
            state.withLock {
                $0.book.lift(record.held.id, concerned: [], now: WallClock.nowMilliseconds())
            }
            throw error
        }
    }

    /// Lifts a switch and tells the nodes. It stays on when that cannot be stored.
    func lift(_ record: KillSwitchRecord, concerned: [NodeID], _ context: OperationContext) async throws -> Told {
        var lifted = record
        lifted.liftedAt = .nowMilliseconds
        lifted.liftedBy = context.principal.name
        try await store.updateKillSwitch(lifted)
        state.withLock {
            $0.book.lift(record.held.id, concerned: concerned, now: WallClock.nowMilliseconds())
        }
        return Told(record: lifted, outcomes: await tell(concerned, asked: nil, request: context.requestID))
    }

    // MARK: nodes

    /// Tells nodes the set that is in force, all at the same time. It goes on when the caller goes away.
    private func tell(_ nodes: [NodeID], asked: KillSwitchID?, request: RequestID) async -> [NodeOutcome] {
        await Task {
            await withTaskGroup(of: NodeOutcome.self) { group in
                for node in nodes { group.addTask { await self.tell(node, asked: asked, request: request) } }
                var outcomes: [NodeOutcome] = []
                for await outcome in group { outcomes.append(outcome) }
                return outcomes.sorted { $0.node < $1.node }
            }
        }.value
    }

    private func tell(_ node: NodeID, asked: KillSwitchID?, request: RequestID) async -> NodeOutcome {
        let began = ContinuousClock.now
        do {
            let order = KillOrder(set: state.withLock { $0.book.set(for: node) }, asked: asked)
            let answer = try await nodes.client(for: node).call(
                .killApply, order, returning: KillAnswer.self, request: request,
                timeout: .milliseconds(answerMilliseconds))
            await settle(state.withLock { $0.book.heard(node, answer.state) })
            return NodeOutcome(node: node, took: ContinuousClock.now - began, result: .success(answer))
        } catch {
            let failure = FastableError.unexpected(error, doing: "telling a node")
            return NodeOutcome(node: node, took: ContinuousClock.now - began, result: .failure(failure))
        }
    }

    /// What a node reports. One that was away, or too slow, has carried out now what it was waited for; one that is behind is told.
    func heard(_ node: NodeID, _ reported: NodeSwitchState) async {
        do { try await load() } catch { return }
        let (changed, isBehind) = state.withLock { state in
            let changed = state.book.heard(node, reported)
            return (changed, state.book.isBehind(node, reported) && state.telling.insert(node).inserted)
        }
        await settle(changed)
        for record in changed { await audit.append(Self.acknowledgement(of: record, by: node)) }
        guard isBehind else { return }
        Task {
            _ = await tell(node, asked: nil, request: RequestID())
            state.withLock { _ = $0.telling.remove(node) }
        }
    }

    /// A node that was removed.
    func forget(_ node: NodeID) async { await settle(state.withLock { $0.book.forget(node) }) }

    /// Stores whom records wait for, and those that are over as lifted.
    private func settle(_ changed: [KillSwitchRecord]) async {
        for record in changed {
            var record = record
            if record.held.isOnce && record.awaited.isEmpty {
                record.liftedAt = .nowMilliseconds
                state.withLock { $0.book.lift(record.held.id, concerned: [], now: WallClock.nowMilliseconds()) }
            }
            do { try await store.updateKillSwitch(record) } catch {
                // After a restart the nodes are asked again, and answer that nothing is left to do.
                logger.warning(
                    "What a kill switch has done could not be stored.",
                    metadata: ["switch": "\(record.held.id)", "error": "\(error)"])
            }
        }
    }

    private static func acknowledgement(of record: KillSwitchRecord, by node: NodeID) -> AuditEvent {
        AuditEvent(
            timeMilliseconds: 0, workspace: record.workspace, actor: nil, door: .link, request: RequestID(),
            operation: "kill.acknowledged", subject: node.description, phase: .outcome,
            detail: ["killSwitch": .string(record.held.id.description)])
    }
}

/// What became of telling one node.
struct NodeOutcome: Sendable {
    var node: NodeID
    var took: Duration
    var result: Result<KillAnswer, FastableError>
}
