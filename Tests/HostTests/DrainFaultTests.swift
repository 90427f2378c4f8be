import FastableCore
import Foundation
import TestSupport
import Testing

/// Something dies, or fails for a while, at every stage of a drain, with everything real. After each the project is on the other node
/// with all that it had, once, and nothing is left where it was.
@Suite("Faults in a drain", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct DrainFaultTests {
    enum Fault: String, CaseIterable {
        case controller, source, target, initProcess, runtime, sourceHost, targetHost, link, disk, clock

        /// No container runs, nor is one made, once the project has come to rest.
        var needsContainer: Bool { self == .initProcess || self == .runtime }
    }

    /// From when so many milliseconds count.
    enum Moment: Equatable {
        /// The drain was asked for: the container comes to rest and ends, and the archive is written.
        case asked(Int)
        /// The archive has its name: the other node gets it, has it, the first gives it up, and behind that.
        case saved(Int)
    }

    /// Whether the project has a disk of its own: wherever the host can make one, for every fault that leaves it one.
    private static let disks = DiskHost.missing == nil ? [true, false] : [false]
    private static let diskBytes: Int64 = 128 << 20

    /// Disks promise more than their node has: when that is full, writing to one fails, and it may have to be mounted again.
    private static func faults(withDisk hasDisk: Bool) -> [Fault] {
        Fault.allCases.filter { hasDisk ? $0 != .disk : $0 == .disk || disks == [false] }
    }

    /// Each costs a drain, so the ordinary run has one or two moments of each fault and `make test-faults` all.
    private static func plan(_ faults: [Fault], _ generator: inout SeededGenerator) -> [(Fault, Moment)] {
        let isLong = FaultPlan.number("FASTABLE_FAULT_ROUNDS") != nil
        var plan: [(Fault, Moment)] = []
        for fault in faults {
            var asked = [0, 60, 150].map { Moment.asked($0) }.shuffled(using: &generator)
            var saved = [0, 100, 300, 600].map { Moment.saved($0) }.shuffled(using: &generator)
            if fault.needsContainer {
                saved = []
            } else if !isLong, [.controller, .source, .target].contains(fault) {
                (asked, saved) = ([asked[0]], [saved[0]])
            } else if !isLong {
                (asked, saved) = generator.chance(50) ? ([asked[0]], []) : ([], [saved[0]])
            }
            if !isLong { asked = Array(asked.prefix(1)) }
            plan += (asked + saved).map { (fault, $0) }
        }
        return plan.shuffled(using: &generator)
    }

    @Test(.timeLimit(.minutes(90)), arguments: disks)
    func aDrainLosesNothingWhateverDies(hasDisk: Bool) async throws {
        try await Installation.with(nodes: 2, disk: SmallDisk.Size(megabytes: 4096), setsClock: true) { host in
            var generator = SeededGenerator(seed: FaultPlan.seed)
            try await DrainWork.fill(host, on: 0, files: 3000, diskBytes: hasDisk ? Self.diskBytes : nil)
            try await host.tool("devcontainer.stop", ["project": "p"])
            let atRest = try HostAtRest(host, nodes: 2)
            var done: [Fault: Int] = [:]
            var source = 0
            let plan = Self.plan(Self.faults(withDisk: hasDisk), &generator)
            for (fault, moment) in plan {
                let what = "\(fault) at \(moment), seed \(FaultPlan.seed)"
                var isDone = false
                for attempt in 0..<5 where !isDone {
                    // What a command has written and put on the disk no loss of power takes.
                    let changed = try await host.exec("p", "echo '\(what)' >> deep/more && sync")
                    try #require(changed["exitCode"] == 0, "\(changed)")
                    let before = try await WorkspaceListing.of("p", on: host)
                    let when = attempt == 0 ? moment : .asked(0)
                    isDone = try await Self.round(host, source, fault, when, what)
                    #expect(try await WorkspaceListing.of("p", on: host) == before, "\(what)")
                    try await Self.expectNothingLeft(host, source, hasDisk, atRest, what)
                    source = 1 - source
                }
                #expect(isDone, "nothing was hit: \(what)")
                if isDone { done[fault, default: 0] += 1 }
            }
            let kind = hasDisk ? "with" : "without"
            print("\(FaultPlan.counts(done)) in a drain \(kind) a disk, seed \(FaultPlan.seed)")
            #expect(done.values.reduce(0, +) == plan.count)
        }
    }

    /// A drain with a fault in it, to its end. Whether there was anything to be hit.
    private static func round(
        _ host: Installation, _ source: Int, _ fault: Fault, _ moment: Moment, _ what: String
    ) async throws -> Bool {
        let known = DrainWork.archives(host)
        try await host.tool("nodes_drain", ["node": .string(host.nodeName(source))])
        switch moment {
        case .asked(let milliseconds): try await Task.sleep(for: .milliseconds(milliseconds))
        case .saved(let milliseconds):
            try await eventually("the archive has its name") { !DrainWork.archives(host).isSubset(of: known) }
            try await Task.sleep(for: .milliseconds(milliseconds))
        }
        let isDone = try await strike(host, source, fault)
        try await eventually("it is drained after \(what)", seconds: 120) {
            try await DrainWork.isDrained(host, source)
        }
        #expect(try await DrainWork.home(host) == host.nodeName(1 - source), "\(what)")
        try await eventually("it can be used after \(what)") { (try? await host.exec("p", "true"))?["exitCode"] == 0 }
        try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(source))])
        return isDone
    }

    private static func strike(_ host: Installation, _ source: Int, _ fault: Fault) async throws -> Bool {
        let target = 1 - source
        switch fault {
        case .controller:
            host.killController()
            try await host.startController()
        case .source, .target:
            let node = fault == .source ? source : target
            host.killNode(node)
            try await host.startNode(node, expectReady: false)
        case .initProcess: return try await hits(host, source) { host.killInits(of: source) }
        case .runtime: return try await hits(host, source) { host.killRuntimes(of: source) }
        case .sourceHost, .targetHost:
            let node = fault == .sourceHost ? source : target
            // The first node has a disk of its own, which loses its power too.
            try await host.loseHost(node, power: node == 0)
            try await host.startNode(node, expectReady: false)
        case .link: try await host.withCutLink { try await Task.sleep(for: .seconds(2)) }
        case .disk: try await host.fillDisk { try await Task.sleep(for: .seconds(1)) }
        case .clock: try await host.jumpClock()
        }
        return true
    }

    /// Until the project has left the node.
    private static func hits(_ host: Installation, _ source: Int, _ strike: () -> Bool) async throws -> Bool {
        let isOver = Flag()
        let watching = Task {
            defer { isOver.raise() }
            try await eventually("it is drained") { try await DrainWork.isDrained(host, source) }
        }
        defer { watching.cancel() }
        return try await isOver.tries(strike)
    }

    private static func image(_ host: Installation, _ node: Int, _ project: String) -> String {
        host.place(of: node).appending(path: "node-\(node)/projects/\(project)/disk.img").path
    }

    private static func expectNothingLeft(
        _ host: Installation, _ source: Int, _ hasDisk: Bool, _ atRest: HostAtRest, _ what: String
    ) async throws {
        try await host.tool("devcontainer.stop", ["project": "p"])
        try await eventually("both are ready after \(what)") {
            let states = [await host.nodeState(0), await host.nodeState(1)]
            return states.allSatisfy { $0 == "ready" }
        }
        var left: [String] = []
        do {
            try await eventually("nothing is left after \(what)") {
                left = try atRest.leftovers(moved: true)
                let volumes = [0, 1].map { DrainWork.volumes(host, node: $0) }
                if volumes.map(\.count) != [source, 1 - source] { left.append("projects on the nodes: \(volumes)") }
                let disks = hasDisk ? volumes[1 - source].map { image(host, 1 - source, $0) } : []
                let devices = HostFacts.loopFiles("/\(host.name)/").filter { $0.contains("/projects/") }
                if devices != disks { left.append("loop devices of projects: \(devices)") }
                return left.isEmpty
            }
        } catch {
            #expect(left == [], "\(what)")
            throw error
        }
    }

    /// No packet between the controller and the nodes for longer than a link may be silent.
    @Test(.endsInTime, arguments: [0, 150])
    func aCutLinkLosesNothing(milliseconds: Int) async throws {
        try await Installation.with(nodes: 2) { host in
            try await DrainWork.fill(host, on: 0, files: 3000)
            let before = try await WorkspaceListing.of("p", on: host)
            let known = DrainWork.archives(host)
            try await DrainWork.drain(host, 0)
            try await eventually("the archive has its name") { !DrainWork.archives(host).isSubset(of: known) }
            try await Task.sleep(for: .milliseconds(milliseconds))
            try await host.withCutLink {
                try await eventually("the controller notices", seconds: 120) {
                    let states = [await host.nodeState(0), await host.nodeState(1)]
                    return states.allSatisfy { $0 == "offline" }
                }
            }
            try await eventually("it is drained", seconds: 120) { try await DrainWork.isDrained(host, 0) }
            try await eventually("it can be used") { (try? await host.exec("p", "true"))?["exitCode"] == 0 }
            #expect(try await WorkspaceListing.of("p", on: host) == before)
            try await eventually("there is one of it") {
                DrainWork.volumes(host, node: 0).isEmpty && DrainWork.volumes(host, node: 1).count == 1
            }
        }
    }
}
