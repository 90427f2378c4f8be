import ControllerDomain
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// The controller's side of kill switches, without nodes.
@Suite struct KillSwitchBookTests {
    private static func record(
        _ scope: KillScope, _ mode: KillSwitch.Mode = .kill, holds: Bool = false, owner: KillSwitch.Owner = .operators,
        workspace: WorkspaceID = .system, awaited: [NodeID] = []
    ) -> KillSwitchRecord {
        KillSwitchRecord(
            held: KillSwitch(
                scope: scope, mode: mode, holds: holds, reason: "why", by: "alice", owner: owner,
                since: Date(timeIntervalSince1970: 1_800_000_000)), workspace: workspace, token: TokenID(),
            awaited: awaited)
    }

    private static func state(_ version: UInt64, pending: [KillSwitchID] = []) -> NodeSwitchState {
        NodeSwitchState(version: version, pending: pending, local: nil)
    }

    @Test func everyChangeIsNewerAlsoAfterARestart() throws {
        var book = KillSwitchBook([], now: 100)
        let first = try book.engage(Self.record(.all, holds: true), now: 100)
        let second = try book.engage(Self.record(.all, .network, holds: true), now: 50)
        #expect(100 < first.version && first.version < second.version)
        book.lift(first.held.id, concerned: [], now: 0)
        #expect(book.version > second.version)
        // The lift was not stored before the controller died.
        let restarted = KillSwitchBook([first, second], now: 5000)
        #expect(restarted.version > book.version && restarted.active == [first, second])
    }

    @Test func aKillThatHoldsNothingIsOverWhenAllNodesHaveDoneIt() throws {
        let nodes = [NodeID(), NodeID()]
        var book = KillSwitchBook([], now: 1)
        let kill = try book.engage(Self.record(.all, awaited: nodes), now: 1)
        func heard(_ state: NodeSwitchState) -> [KillSwitchRecord] { book.heard(nodes[0], state) }
        let before = heard(Self.state(kill.version - 1))
        #expect(before.isEmpty, "it has not heard of it")
        let unfinished = heard(Self.state(kill.version, pending: [kill.held.id]))
        #expect(unfinished.isEmpty, "something is left")
        let done = heard(Self.state(kill.version))
        #expect(done.map(\.awaited) == [[nodes[1]]] && book[kill.held.id] != nil)
        let again = heard(Self.state(kill.version))
        #expect(again.isEmpty, "heard already")
        let last = book.heard(nodes[1], Self.state(kill.version + 5))
        #expect(last.count == 1 && book.isOver(last[0]) && book.active.isEmpty)
    }

    @Test func aRemovedNodeIsWaitedForNoLonger() throws {
        let node = NodeID()
        var book = KillSwitchBook([], now: 1)
        _ = try book.engage(Self.record(.all, awaited: [node]), now: 1)
        let changed = book.forget(node)
        #expect(changed.count == 1 && book.active.isEmpty)
    }

    @Test func aNodeIsSentNothingAboutAnotherNode() throws {
        let (one, two) = (NodeID(), NodeID())
        var book = KillSwitchBook([], now: 1)
        for scope in [KillScope.node(one), .node(two), .all] {
            _ = try book.engage(Self.record(scope, holds: true), now: 1)
        }
        #expect(book.set(for: one).switches.map(\.scope) == [.node(one), .all])
        #expect(book.set(for: one).version == book.version)
        #expect(book.heldNodes == [one, two])
    }

    @Test func aNodeIsBehindOnlyWhenAChangeConcernsIt() throws {
        let (one, two) = (NodeID(), NodeID())
        var book = KillSwitchBook([], now: 1)
        let held = try book.engage(Self.record(.node(one), holds: true, awaited: [one]), now: 1)
        #expect(book.isBehind(one, Self.state(0)) && !book.isBehind(two, Self.state(0)))
        #expect(!book.isBehind(one, Self.state(held.version)))
        book.lift(held.held.id, concerned: [one], now: 1)
        #expect(book.isBehind(one, Self.state(held.version)))
        // A node without the project may get it later.
        let project = try book.engage(Self.record(.project(ProjectID()), holds: true, awaited: []), now: 1)
        #expect(book.isBehind(two, Self.state(project.version - 1)) && !book.isBehind(two, Self.state(project.version)))
    }

    @Test func workspacesCannotTakeAllTheRoom() throws {
        var book = KillSwitchBook([], now: 1)
        let workspace = WorkspaceID()
        func add(_ owner: KillSwitch.Owner, _ workspace: WorkspaceID) throws {
            _ = try book.engage(
                Self.record(.workspace(workspace), holds: true, owner: owner, workspace: workspace), now: 1)
        }
        for _ in 0..<Limits.killSwitchesPerWorkspace { try add(.workspace, workspace) }
        expectFailure(.limit) { try add(.workspace, workspace) }
        for _ in Limits.killSwitchesPerWorkspace..<(Limits.killSwitches / 2) { try add(.workspace, WorkspaceID()) }
        expectFailure(.limit) { try add(.workspace, WorkspaceID()) }
        for _ in 0..<(Limits.killSwitches / 2) { try add(.operators, .system) }
        expectFailure(.limit) { try add(.operators, .system) }
    }

    /// The whole set travels in one message.
    @Test func aFullSetFitsIntoAMessage() throws {
        let reason = String(repeating: "\"", count: Limits.killReasonBytes)
        let switches = (0..<Limits.killSwitches).map { _ in
            KillSwitch(
                scope: .exec(ExecID(), of: ProjectID()), mode: .noNewWork, holds: true, reason: reason,
                by: String(repeating: "\\", count: Limits.nameBytes), owner: .workspace, since: Date())
        }
        let request = NodeRequest(
            method: .killApply, requestID: RequestID(),
            arguments: KillOrder(set: KillSwitchSet(version: .max / 2, switches: switches), asked: switches[0].id))
        #expect(try request.opening().count < Limits.controlMessageBytes)
    }

    @Test(arguments: seeds())
    func whatNodesSayInAnyOrderNeverBringsASwitchBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let nodes = (0..<3).map { _ in NodeID() }
        var book = KillSwitchBook([], now: 1)
        var gone: Set<KillSwitchID> = []
        var versions: [UInt64] = [book.version]
        for _ in 0..<500 {
            let held = book.active
            switch random.int(0...3) {
            case 0 where held.count < 20:
                let wanted = Self.record(
                    .all, KillSwitch.Mode.allCases.randomElement(using: &random) ?? .kill, holds: random.chance(50),
                    awaited: nodes.filter { _ in random.chance(70) })
                _ = try book.engage(wanted, now: UInt64(random.int(0...1000)))
            case 1:
                guard let record = held.randomElement(using: &random) else { continue }
                book.lift(record.held.id, concerned: nodes, now: UInt64(random.int(0...1000)))
                gone.insert(record.held.id)
            default:
                guard let node = nodes.randomElement(using: &random) else { continue }
                let version = versions.randomElement(using: &random) ?? 0
                let pending = held.map(\.held.id).filter { _ in random.chance(30) }
                for record in book.heard(node, Self.state(version, pending: pending)) {
                    #expect(record.version <= version && !pending.contains(record.held.id), "seed \(seed)")
                    if book.isOver(record) { gone.insert(record.held.id) }
                }
            }
            versions.append(book.version)
            #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 <= $1 }, "seed \(seed)")
            #expect(book.active.allSatisfy { !gone.contains($0.held.id) }, "seed \(seed)")
            #expect(nodes.allSatisfy { !book.isBehind($0, Self.state(book.version)) }, "seed \(seed)")
        }
    }
}
