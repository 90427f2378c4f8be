import FastableCore
import FoundationEssentials
import NodeSandbox
import TestSupport
import Testing

/// The node's side of kill switches, without a node.
@Suite struct NodeSwitchBookTests {
    static let project = ProjectID()
    static let workspace = WorkspaceID()
    static let other = ProjectID()
    static let elsewhere = WorkspaceID()

    static func held(
        _ scope: KillScope = .project(project), _ mode: KillSwitch.Mode = .kill, holds: Bool = true,
        owner: KillSwitch.Owner = .operators
    ) -> KillSwitch {
        KillSwitch(
            scope: scope, mode: mode, holds: holds, reason: "it mines", by: "alice", owner: owner,
            since: Date(timeIntervalSince1970: 1_800_000_000))
    }

    private static func book(_ switches: [KillSwitch], version: UInt64 = 1) -> NodeSwitchBook {
        var book = NodeSwitchBook()
        book.take(KillSwitchSet(version: version, switches: switches))
        return book
    }

    @Test func anOlderSetNeverReplacesANewerOne() {
        let kill = Self.held()
        var book = Self.book([kill], version: 7)
        let older = book.take(KillSwitchSet(version: 6))
        #expect(!older)
        #expect(book.pending == [kill] && book.state.version == 7)
        let newer = book.take(KillSwitchSet(version: 8))
        #expect(newer)
        #expect(book.active.isEmpty)
    }

    @Test func aKillIsCarriedOutOnceHoweverOftenItIsSent() {
        let kill = Self.held(holds: false)
        var book = Self.book([kill])
        #expect(book.refusal(of: Self.project, in: Self.workspace) == kill, "what starts now it would end")
        book.wasCarriedOut(kill.id)
        #expect(book.pending.isEmpty && book.refusal(of: Self.project, in: Self.workspace) == nil)
        book.take(KillSwitchSet(version: 1, switches: [kill]))
        book.take(KillSwitchSet(version: 2, switches: [kill, Self.held(.all, .network)]))
        #expect(book.pending.isEmpty)
        // Once it is gone it is forgotten, and what comes late of it changes nothing.
        book.take(KillSwitchSet(version: 3))
        book.wasCarriedOut(kill.id)
        #expect(book.carriedOut.isEmpty)
    }

    @Test func onlyItsScopeIsReached() {
        let cases: [(KillScope, project: Bool, neighbour: Bool, stranger: Bool)] = [
            (.project(Self.project), true, false, false), (.workspace(Self.workspace), true, true, false),
            (.node(NodeID()), true, true, true), (.all, true, true, true),
            (.exec(ExecID(), of: Self.project), false, false, false),
        ]
        for (scope, project, neighbour, stranger) in cases {
            let book = Self.book([Self.held(scope), Self.held(scope, .network)])
            for (id, workspace, expected) in [
                (Self.project, Self.workspace, project), (Self.other, Self.workspace, neighbour),
                (Self.other, Self.elsewhere, stranger),
            ] {
                #expect((book.refusal(of: id, in: workspace) != nil) == expected, "\(scope)")
                #expect(book.cutsNetwork(of: id, in: workspace) == expected, "\(scope)")
            }
        }
    }

    @Test func theHostsSwitchAndTheControllersDoNotTouchEachOther() {
        let local = Self.held(.all, .kill, owner: .host)
        var book = Self.book([Self.held()])
        book.setLocal(local)
        book.take(KillSwitchSet(version: 9))
        #expect(book.active == [local] && book.state.local == local)
        book.take(KillSwitchSet(version: 10, switches: [Self.held()]))
        book.setLocal(nil)
        #expect(book.active.map(\.owner) == [.operators])
    }

    @Test func aRefusalNamesTheSwitchItsReasonAndWhoLiftsIt() {
        let held = Self.held()
        let error = held.refusal
        #expect(error.code == .unavailable)
        for word in [held.id.description, "it mines", "alice", "an operator", "kill lift"] {
            #expect(error.message.contains(word), "\(error.message)")
        }
        #expect(Self.held(owner: .host).refusal.message.contains("fastable-node kill-switch off"))
        #expect(Self.held(.all, .noNewWork).refusal.message.contains("fastable admin enable"))
        #expect(!Self.held(owner: .workspace).refusal.message.contains("operator"))
    }

    @Test(arguments: seeds())
    func anyOrderOfWhatIsSentEndsInTheNewest(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var pool = (0..<4).map { _ in
                Self.held(
                    [.project(Self.project), .workspace(Self.workspace), .all].randomElement(using: &random) ?? .all,
                    KillSwitch.Mode.allCases.randomElement(using: &random) ?? .kill, holds: random.chance(50))
            }
            pool.append(Self.held(.exec(ExecID(), of: Self.project), holds: false))
            let sets = (1...6).map { version in
                KillSwitchSet(version: UInt64(version), switches: pool.filter { _ in random.chance(60) })
            }
            var book = NodeSwitchBook()
            var done: Set<KillSwitchID> = []
            // Each comes at least once, some again, in any order.
            for set in (sets + sets.filter { _ in random.chance(30) }).shuffled(using: &random) {
                let before = book.state.version
                book.take(set)
                #expect(book.state.version == max(before, set.version), "seed \(seed)")
                if random.chance(40), let kill = book.pending.randomElement(using: &random) {
                    book.wasCarriedOut(kill.id)
                    done.insert(kill.id)
                }
                done.formIntersection(book.active.map(\.id))
                #expect(book.pending.allSatisfy { !done.contains($0.id) }, "seed \(seed): killed twice")
                let restarted = NodeSwitchBook(
                    try JSON.decode(from: try JSON.encode(book.stored)), local: book.local)
                #expect(restarted == book, "seed \(seed): the disk says something else")
            }
            #expect(book.given == sets.last, "seed \(seed)")
        }
    }
}
