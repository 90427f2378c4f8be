import ControllerDomain
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Properties that hold for every fleet, over thousands of random ones.
@Suite struct PlacementPropertyTests {
    private static let cases = 2000
    private static let mebibyte = 1024 * 1024
    private let now = Date(milliseconds: 1_800_000_000_000)

    private struct World {
        var generator: SeededGenerator
        let now: Date

        mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
        mutating func chance(_ percent: Int) -> Bool { int(1...100) <= percent }
        mutating func pick<Value>(_ values: [Value], else other: Value) -> Value {
            values.randomElement(using: &generator) ?? other
        }

        mutating func limits() -> ResourceLimits {
            ResourceLimits(
                cpus: Double(int(1...20)) / 10, memoryBytes: int(32...4096) * mebibyte, pids: int(16...4096))
        }

        mutating func policy() -> PlacementPolicy {
            var policy = PlacementPolicy()
            policy.memoryOvercommit = Double(int(1...8))
            policy.cpuOvercommit = Double(int(1...20))
            policy.projectsPerNode = int(1...40)
            policy.pidsPerNode = int(1000...40_000)
            policy.diskFreeBytes = int(0...20) * 1024 * mebibyte
            return policy
        }

        mutating func candidate(_ number: Int) -> PlacementCandidate {
            let facts = NodeFacts(
                programVersion: "1", hostName: "h", kernel: "6", cgroup: .v2, runtime: "runc", cpus: int(1...16),
                memoryBytes: int(512...32_768) * mebibyte, diskBytes: 100_000 * mebibyte,
                diskFreeBytes: int(0...40) * 1024 * mebibyte, images: chance(80) ? ["vibn-dev", "a"] : ["a"])
            let scheduling: NodeRecord.Scheduling = chance(80) ? .ready : pick([.cordoned, .removed], else: .removed)
            let id = NodeID(milliseconds: 1_800_000_000_000, using: &generator)
            let node = NodeRecord(
                id: id, name: "build-\(number)", scheduling: scheduling, facts: chance(95) ? facts : nil,
                lastSeenAt: chance(95) ? now.addingTimeInterval(Double(-int(0...80))) : nil, createdAt: now)
            let projects = int(0...30)
            let load = NodeLoad(
                projects: projects, workspaceProjects: chance(50) ? 0 : int(0...projects),
                memoryBytes: int(0...projects * 2048) * mebibyte, cpus: Double(int(0...projects * 10)) / 10,
                pids: int(0...projects * 1000))
            return PlacementCandidate(node: node, connected: chance(90), load: load)
        }
    }

    /// Runs the body on many random fleets.
    private func forEachFleet(
        seed: UInt64, _ body: (inout World, PlacementDemand, PlacementPolicy, [PlacementCandidate]) -> Void
    ) {
        var world = World(generator: SeededGenerator(seed: seed), now: now)
        for _ in 0..<Self.cases {
            let demand = PlacementDemand(
                image: "vibn-dev", limits: world.limits(), isPullable: world.chance(30))
            let policy = world.policy()
            let fleet = (0..<world.int(0...8)).map { world.candidate($0) }
            body(&world, demand, policy, fleet)
        }
    }

    /// Written apart from the function under test, straight from the rule.
    private func mayTake(_ node: PlacementCandidate, _ demand: PlacementDemand, _ policy: PlacementPolicy) -> Bool {
        guard node.connected, node.node.scheduling == .ready, let facts = node.node.facts,
            let seen = node.node.lastSeenAt, now.timeIntervalSince(seen) <= Double(policy.reportAgeSeconds)
        else { return false }
        let memory = Double(node.load.memoryBytes + demand.limits.memoryBytes)
        return (demand.isPullable || facts.images.contains(demand.image))
            && node.load.projects + 1 <= policy.projectsPerNode
            && memory <= Double(facts.memoryBytes) * policy.memoryOvercommit
            && node.load.cpus + demand.limits.cpus <= Double(facts.cpus) * policy.cpuOvercommit
            && node.load.pids + demand.limits.pids <= policy.pidsPerNode
            && facts.diskFreeBytes >= policy.diskFreeBytes
    }

    @Test(arguments: seeds())
    func aNodeIsChosenExactlyWhenOneMayTakeIt(seed: UInt64) {
        var chosen = 0
        forEachFleet(seed: seed) { _, demand, policy, fleet in
            let decision = Placement.place(demand, on: fleet, policy: policy, now: now)
            let able = Set(fleet.filter { mayTake($0, demand, policy) }.map(\.node.id))
            #expect(decision.verdicts.count == fleet.count)
            #expect(decision.chosen.map(able.contains) ?? able.isEmpty)
            for verdict in decision.verdicts {
                switch verdict.outcome {
                case .fits(let score):
                    #expect(able.contains(verdict.node))
                    #expect(score.total >= 0 && score.total <= 1)
                case .filtered(let filters):
                    #expect(!able.contains(verdict.node))
                    #expect(!filters.isEmpty)
                }
            }
            chosen += decision.chosen == nil ? 0 : 1
        }
        // The cases are worth something only when both answers are frequent.
        #expect(chosen > Self.cases / 10 && chosen < Self.cases * 9 / 10)
    }

    @Test(arguments: seeds())
    func theOrderOfNodesDoesNotMatter(seed: UInt64) {
        forEachFleet(seed: seed) { world, demand, policy, fleet in
            let first = Placement.place(demand, on: fleet, policy: policy, now: now)
            let again = Placement.place(demand, on: fleet, policy: policy, now: now)
            let shuffled = fleet.shuffled(using: &world.generator)
            #expect(first == again)
            #expect(first == Placement.place(demand, on: shuffled, policy: policy, now: now))
        }
    }

    /// A copy of the chosen node that is better in one respect is chosen instead.
    @Test(arguments: seeds())
    func aBetterNodeIsPreferred(seed: UInt64) throws {
        forEachFleet(seed: seed) { world, demand, policy, fleet in
            let decision = Placement.place(demand, on: fleet, policy: policy, now: now)
            guard var better = fleet.first(where: { $0.node.id == decision.chosen }) else { return }
            better.node.id = NodeID(milliseconds: 1_900_000_000_000, using: &world.generator)
            switch world.int(0...3) {
            case 0: better.node.facts?.memoryBytes *= 2
            case 1: better.node.facts?.cpus *= 2
            case 2 where better.load.projects > 0: better.load.projects -= 1
            case 3 where better.load.workspaceProjects == 0: better.load.workspaceProjects = 1
            default: better.node.facts?.memoryBytes += Self.mebibyte * 1024
            }
            let next = Placement.place(demand, on: fleet + [better], policy: policy, now: now)
            #expect(next.chosen == better.node.id)
        }
    }

    /// Other nodes may come and go: as long as the chosen one is there and none is better, it stays chosen.
    @Test(arguments: seeds())
    func nodesThatWereNotChosenDoNotMatter(seed: UInt64) {
        forEachFleet(seed: seed) { world, demand, policy, fleet in
            let decision = Placement.place(demand, on: fleet, policy: policy, now: now)
            guard let chosen = decision.chosen else { return }
            let fewer = fleet.filter { $0.node.id == chosen || world.chance(50) }
            #expect(Placement.place(demand, on: fewer, policy: policy, now: now).chosen == chosen)
        }
    }
}
