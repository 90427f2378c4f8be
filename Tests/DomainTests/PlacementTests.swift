import ControllerDomain
import FastableCore
import FoundationEssentials
import Testing

private let gibibyte = 1024 * 1024 * 1024
private let now = Date(milliseconds: 1_800_000_000_000)

private func candidate(
    name: String = "build-1", scheduling: NodeRecord.Scheduling = .ready, connected: Bool = true, cpus: Int = 4,
    memoryBytes: Int = 8 * gibibyte, diskFreeBytes: Int = 50 * gibibyte, images: [String] = ["vibn-dev"],
    diskPressure: DiskPressure? = nil, pids: Int? = nil, seenAt: Date? = now, load: NodeLoad = NodeLoad()
) -> PlacementCandidate {
    let facts = NodeFacts(
        programVersion: "1", hostName: name, kernel: "6.1", cgroup: .v2, runtime: "runc 1.1.5", cpus: cpus,
        memoryBytes: memoryBytes, diskBytes: 100 * gibibyte, diskFreeBytes: diskFreeBytes, diskPressure: diskPressure,
        images: images, pids: pids)
    let node = NodeRecord(
        id: NodeID(), name: name, scheduling: scheduling, facts: facts, lastSeenAt: seenAt, createdAt: now)
    return PlacementCandidate(node: node, connected: connected, load: load)
}

private let demand = PlacementDemand(image: "vibn-dev", limits: ResourceLimits())

private func place(_ candidates: PlacementCandidate...) -> PlacementDecision {
    Placement.place(demand, on: candidates, now: now)
}

@Suite struct PlacementTests {
    @Test func oneGoodNodeIsChosen() throws {
        let node = candidate()
        let decision = place(node)
        #expect(decision.chosen == node.node.id)
        #expect(try decision.requireNode() == node.node.id)
        #expect(decision.reasons.first?.hasPrefix("build-1 fits: 0.") == true)
    }

    /// Each filter alone keeps a node out, with its reason in words and the error that helps.
    @Test(
        arguments: [
            (candidate(scheduling: .removed), "is removed", .unavailable),
            (candidate(scheduling: .cordoned), "is cordoned", .unavailable),
            (candidate(connected: false), "is offline", .unavailable),
            (candidate(seenAt: nil), "is offline", .unavailable),
            (candidate(seenAt: now.addingTimeInterval(-61)), "has not reported for 61 s", .unavailable),
            (candidate(images: ["other"]), "does not have the image ‘vibn-dev’", .unprocessable),
            (candidate(load: NodeLoad(projects: 1000)), "has its most projects, 1000", .limit),
            (candidate(load: NodeLoad(memoryBytes: 32 * gibibyte)), "0 MiB of memory left to promise, 1 GiB", .limit),
            (candidate(load: NodeLoad(cpus: 127.5)), "0.5 CPUs left to promise, 1 are needed", .limit),
            (candidate(load: NodeLoad(pids: 2_000_000)), "0 processes left to promise, 512 are needed", .limit),
            (candidate(diskPressure: .reclaiming), "is short of disk space (reclaiming)", .limit),
            (candidate(diskPressure: .refusing), "is short of disk space (refusing)", .limit),
            (
                candidate(pids: 1000, load: NodeLoad(pids: 3600)), "has 400 processes left to promise, 512 are needed",
                .limit
            ),
            (candidate(diskFreeBytes: gibibyte / 2), "512 MiB of free disk, 1 GiB is the least", .limit),
        ] as [(PlacementCandidate, String, FastableError.Code)])
    func eachFilterKeepsANodeOut(node: PlacementCandidate, words: String, code: FastableError.Code) throws {
        let decision = place(node)
        #expect(decision.chosen == nil)
        let reason = try #require(decision.reasons.first)
        #expect(reason.hasPrefix("build-1 ") && reason.contains(words), "\(reason)")
        let error = #expect(throws: FastableError.self) { try decision.requireNode() }
        #expect(error?.code == code)
        #expect(error?.message.contains(words) == true)
    }

    @Test func withoutNodesTheErrorSaysHowToAddOne() {
        let error = #expect(throws: FastableError.self) { try place().requireNode() }
        #expect(error?.message.contains("fastable node token") == true)
    }

    /// The node that is easiest to help decides what is advised.
    @Test func theErrorFollowsTheEasiestNode() {
        let without = candidate(name: "a", images: [])
        let away = candidate(name: "b", connected: false)
        let error = #expect(throws: FastableError.self) { try place(without, away).requireNode() }
        #expect(error?.code == .unavailable)
        #expect(error?.retryAfterSeconds == 5)
        let cordonedAndAway = candidate(name: "c", scheduling: .cordoned, connected: false)
        let second = #expect(throws: FastableError.self) { try place(without, cordonedAndAway).requireNode() }
        #expect(second?.code == .unprocessable)
    }

    @Test func aLargeFleetGivesAShortError() {
        let nodes = (0..<500).map { candidate(name: "build-\($0)", images: []) }
        let decision = Placement.place(demand, on: nodes, now: now)
        let error = #expect(throws: FastableError.self) { try decision.requireNode() }
        #expect(error?.message.contains("and 495 more") == true)
        #expect((error?.message.count ?? 0) < 1000)
        #expect(decision.reasons.count == 500)
    }

    /// Disks are promised to all projects, and only who wants one needs room for it.
    @Test func disksAreNotPromisedBeyondTheirOvercommit() throws {
        let node = candidate(load: NodeLoad(projects: 10, diskBytes: 145 * gibibyte))
        var small = demand
        small.limits.diskBytes = 5 * gibibyte
        var large = demand
        large.limits.diskBytes = 6 * gibibyte
        #expect(place(node).chosen != nil)
        #expect(Placement.place(small, on: [node], now: now).chosen != nil)
        let refused = Placement.place(large, on: [node], now: now)
        #expect(refused.reasons == ["build-1 has 5 GiB of disk left to promise, 6 GiB are needed"])
    }

    @Test func aNodeThatReportsTheFutureIsFresh() {
        #expect(place(candidate(seenAt: now.addingTimeInterval(3600))).chosen != nil)
    }

    /// A node may say anything about itself; nothing of it may stop the controller.
    @Test func absurdFactsDoNotTrap() {
        for value in [Int.min, -1, 0, Int.max] {
            let node = candidate(cpus: value, memoryBytes: value, diskFreeBytes: value)
            let decision = place(node)
            #expect((decision.chosen != nil) == (value == .max))
            #expect(decision.reasons.count == 1)
        }
    }

    @Test func emptierNodesAndOnesOwnNodesArePreferred() {
        let empty = candidate(name: "empty")
        let full = candidate(
            name: "full", load: NodeLoad(projects: 30, memoryBytes: 30 * gibibyte, cpus: 30, pids: 15_360))
        #expect(place(full, empty).chosen == empty.node.id)
        let mine = candidate(
            name: "mine", load: NodeLoad(projects: 1, workspaceProjects: 1, memoryBytes: gibibyte, cpus: 1, pids: 512))
        let others = candidate(name: "others", load: NodeLoad(projects: 1, memoryBytes: gibibyte, cpus: 1, pids: 512))
        #expect(place(others, mine).chosen == mine.node.id)
        // Locality does not outweigh a node that is clearly emptier.
        let crowded = candidate(
            name: "crowded", load: NodeLoad(projects: 30, workspaceProjects: 30, memoryBytes: 30 * gibibyte, cpus: 30))
        #expect(place(crowded, empty).chosen == empty.node.id)
    }

    /// A node that can pull the image is none of those that lack it, but one that has it goes first unless it is much fuller.
    @Test func anImageThatCanBePulledKeepsNoNodeOut() throws {
        let without = candidate(name: "without", images: [])
        var pullable = demand
        pullable.isPullable = true
        let alone = Placement.place(pullable, on: [without], now: now)
        #expect(try alone.requireNode() == without.node.id)
        #expect(alone.reasons.first?.contains("image 0") == true)
        #expect(alone.reasons.first?.hasSuffix(", after it has pulled the image") == true)
        let some = NodeLoad(projects: 5, memoryBytes: 5 * gibibyte, cpus: 5)
        let with = candidate(name: "with", load: some)
        let decision = Placement.place(pullable, on: [without, with], now: now)
        #expect(decision.chosen == with.node.id)
        #expect(decision.reasons.first?.contains("image 1") == true)
        #expect(decision.reasons.first?.contains("pulled") == false)
        let full = candidate(name: "full", load: NodeLoad(projects: 20, memoryBytes: 20 * gibibyte, cpus: 20))
        #expect(Placement.place(pullable, on: [without, full], now: now).chosen == without.node.id)
        #expect(place(without, full).chosen == full.node.id, "nobody knows where to pull it from")
    }

    @Test func equalNodesAreDecidedByTheSmallerID() {
        let nodes = (0..<20).map { _ in candidate() }
        let least = nodes.map(\.node.id).min()
        #expect(Placement.place(demand, on: nodes.shuffled(), now: now).chosen == least)
    }

    /// A project after the other: nothing is promised beyond the overcommit, and the load is spread.
    @Test func fillingAFleetSpreadsAndStopsAtTheLimit() {
        var policy = PlacementPolicy()
        policy.memoryOvercommit = 2
        var nodes = (0..<3).map { candidate(name: "build-\($0)", memoryBytes: 4 * gibibyte) }
        var placed = 0
        while let chosen = Placement.place(demand, on: nodes, policy: policy, now: now).chosen {
            guard let index = nodes.firstIndex(where: { $0.node.id == chosen }) else { break }
            nodes[index].load.projects += 1
            nodes[index].load.memoryBytes += demand.limits.memoryBytes
            nodes[index].load.cpus += demand.limits.cpus
            nodes[index].load.pids += demand.limits.pids
            placed += 1
            let counts = nodes.map(\.load.projects)
            #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
            guard placed < 100 else { break }
        }
        #expect(placed == 24)
    }
}
