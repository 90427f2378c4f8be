import FastableCore
import Foundation
import Glibc
import TestSupport
import Testing

/// Something dies, or a link is cut, at a random moment of every step in the life of a container, with everything real. After each
/// of them the project can be used, its workspace is what it was, and nothing is left that belongs to no container.
@Suite(
    "Faults in the life of a container", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LifecycleFaultTests {
    enum Step: String, CaseIterable {
        case create, suspend, wake, stop, restart, snapshot, archive, restore, delete

        /// How long it takes, about: later moments would tell nothing.
        var milliseconds: Int {
            switch self {
            case .suspend, .wake: 12
            case .create, .stop, .delete: 150
            case .restart, .snapshot: 250
            case .archive, .restore: 400
            }
        }
    }

    enum Fault: String, CaseIterable { case node, controller, initProcess, runtime, link, disk, clock }

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    /// `make test-faults` tries every fault in every step, again and again; the ordinary run two faults in each.
    private static let rounds = number("FASTABLE_FAULT_ROUNDS").map { max(1, $0 / 5) }
    /// Given to repeat a run that failed.
    private static let seed =
        number("FASTABLE_FAULT_SEED").map { UInt64(bitPattern: Int64($0)) } ?? UInt64(UInt32.random(in: .min ... .max))

    private static func plan(_ generator: inout SeededGenerator) -> [(Step, Fault)] {
        var plan: [(Step, Fault)] = []
        for step in Step.allCases {
            let faults = Fault.allCases.shuffled(using: &generator)
            if let rounds {
                for _ in 0..<rounds { plan += faults.map { (step, $0) } }
            } else {
                plan += faults.prefix(2).map { (step, $0) }
            }
        }
        return plan.shuffled(using: &generator)
    }

    @Test(.timeLimit(.minutes(60))) func nothingIsStuckLeftOrLost() async throws {
        // Large enough for what a node keeps free of any disk.
        try await Installation.with(disk: SmallDisk.Size(megabytes: 4096), setsClock: true) { host in
            var generator = SeededGenerator(seed: Self.seed)
            var battery = try await FaultBattery(host)
            var done: [Fault: Int] = [:]
            let plan = Self.plan(&generator)
            for (step, fault) in plan {
                let milliseconds = generator.int(0...step.milliseconds)
                let isDone = try await battery.round(
                    step, fault, afterMilliseconds: milliseconds, "seed \(Self.seed)")
                // There may be no such process at that moment. Everything else is there to be hit.
                #expect(isDone || fault == .initProcess || fault == .runtime, "\(fault) in \(step)")
                if isDone { done[fault, default: 0] += 1 }
            }
            let counts = Fault.allCases.map { "\(done[$0] ?? 0) × \($0.rawValue)" }.joined(separator: ", ")
            print("\(done.values.reduce(0, +)) of \(plan.count) faults: \(counts), seed \(Self.seed)")
        }
    }
}

/// One project with some content, and what happens to it.
private struct FaultBattery {
    private let host: Installation
    private let content: String
    /// What the node has mounted, and the kernel in its firewall, while no container runs.
    private let mounts: Set<String>
    private let rules: [String]
    private var made = 0

    init(_ host: Installation) async throws {
        self.host = host
        try await host.tool("projects_create", ["name": "p"])
        let filled = try await host.exec(
            "p",
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise \
            && for i in $(seq 300); do echo $i > deep/$i; done
            """)
        #expect(filled["exitCode"] == 0, "\(filled)")
        content = try await WorkspaceListing.of("p", on: host)
        try await host.tool("devcontainer.stop", ["project": "p"])
        (mounts, rules) = (try Self.mounts(host), try Self.rules(host))
    }

    mutating func round(
        _ step: LifecycleFaultTests.Step, _ fault: LifecycleFaultTests.Fault, afterMilliseconds: Int, _ seed: String
    ) async throws -> Bool {
        let what = "\(fault.rawValue) \(afterMilliseconds) ms into \(step.rawValue), \(seed)"
        let project = try await prepare(step)
        let work = Task { [host] in try await Self.perform(step, on: project, host) }
        try await Task.sleep(for: .milliseconds(afterMilliseconds))
        let isDone = try await strike(fault)
        _ = await work.result
        try await eventually("the node is back after \(what)") { await host.nodeState(0) == "ready" }
        if step == .delete {
            try await eventually("it is deleted after \(what)") { try await Self.isGone(project, host) }
        } else {
            try await eventually("it can be used after \(what)") {
                (try? await host.exec(project, "true"))?["exitCode"] == 0
            }
        }
        if project != "p", step != .delete { try await host.tool("projects_delete", ["project": .string(project)]) }
        #expect(try await WorkspaceListing.of("p", on: host) == content, "\(what)")
        try await host.tool("devcontainer.stop", ["project": "p"])
        var left: [String] = []
        try await eventually("nothing is left after \(what)") {
            left = try leftovers()
            return left.isEmpty
        }
        #expect(left == [], "\(what)")
        return isDone
    }

    /// What a step begins with.
    private mutating func prepare(_ step: LifecycleFaultTests.Step) async throws -> String {
        let input: JSONValue = ["project": "p"]
        switch step {
        case .create, .delete:
            made += 1
            try await host.tool("projects_create", ["name": .string("q\(made)")])
            if step == .delete { _ = try await host.exec("q\(made)", "echo x > /workspace/file") }
            return "q\(made)"
        case .suspend, .stop, .restart, .snapshot, .archive: try await host.tool("devcontainer.ensure", input)
        case .wake:
            try await host.tool("devcontainer.ensure", input)
            try await host.tool("devcontainer.suspend", input)
        case .restore:
            try await host.tool("devcontainer.archive", input)
        }
        return "p"
    }

    /// Whether it succeeds is not asked: what matters is what is true afterwards.
    private static func perform(
        _ step: LifecycleFaultTests.Step, on project: String, _ host: Installation
    ) async throws {
        let input: JSONValue = ["project": .string(project)]
        switch step {
        case .create, .wake, .restore: _ = try await host.exec(project, "true")
        case .suspend: try await host.tool("devcontainer.suspend", input)
        case .stop: try await host.tool("devcontainer.stop", input)
        case .restart: try await host.tool("devcontainer.restart", input)
        case .snapshot: try await host.tool("projects_snapshot", input)
        case .archive: try await host.tool("devcontainer.archive", input)
        case .delete: try await host.tool("projects_delete", input)
        }
    }

    private static func isGone(_ project: String, _ host: Installation) async throws -> Bool {
        do { try await host.tool("projects_delete", ["project": .string(project)]) } catch let error as FastableError {
            return error.code == .notFound
        }
        return false
    }

    // MARK: what happens to it

    /// Whether there was anything to be hit.
    private func strike(_ fault: LifecycleFaultTests.Fault) async throws -> Bool {
        switch fault {
        case .node:
            host.killNode(0)
            try await host.startNode(0)
        case .controller:
            host.killController()
            try await host.startController()
        case .initProcess: return Self.kill(processes(named: "fastable-init"))
        case .runtime:
            // It lives for a moment only, if the step needs it at all.
            for _ in 0..<100 {
                if Self.kill(runtimes()) { return true }
                try await Task.sleep(for: .milliseconds(1))
            }
            return false
        case .link: try await host.withCutLink { try await Task.sleep(for: .seconds(2)) }
        case .disk: try await fillDisk { try await Task.sleep(for: .seconds(1)) }
        case .clock:
            for secondsAhead in [2 * 86_400, -86_400, 0] {
                try host.clock?.set(secondsAhead: secondsAhead)
                try await Task.sleep(for: .milliseconds(300))
            }
        }
        return true
    }

    private static func kill(_ processes: [Int32]) -> Bool {
        processes.count { Glibc.kill($0, SIGKILL) == 0 } > 0
    }

    /// The node's disk takes nothing more while `body` runs.
    private func fillDisk(_ body: () async throws -> Void) async throws {
        let (most, rest) = (host.place(of: 0).path + "/filler", host.place(of: 0).path + "/rest")
        defer { for file in [most, rest] { unlink(file) } }
        var space = statvfs()
        try #require(statvfs(most.replacing("/filler", with: ""), &space) == 0)
        // The file system keeps some for itself.
        let bytes = Int(space.f_bfree) * Int(space.f_frsize) - (64 << 20)
        try HostFacts.run("fallocate", ["-l", "\(max(1, bytes))", most])
        let file = open(rest, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        try #require(file >= 0)
        for count in [1 << 20, 4096] {
            let block = [UInt8](repeating: 1, count: count)
            while write(file, block, count) > 0 {}
        }
        close(file)
        try await body()
    }

    private func processes(named name: String) -> [Int32] {
        let lists = host.controlGroupFiles(["cgroup.procs"]).compactMap {
            try? String(contentsOfFile: $0, encoding: .utf8)
        }
        let pids = Set(lists.flatMap { $0.split(separator: "\n") }.compactMap { Int32($0) })
        return pids.filter { Self.text("/proc/\($0)/comm") == name + "\n" }
    }

    /// Programs that the node runs to make or end a container.
    private func runtimes() -> [Int32] {
        let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return pids.filter { pid in
            guard Self.text("/proc/\(pid)/comm").hasPrefix("runc") else { return false }
            return Self.text("/proc/\(pid)/cmdline").contains(host.runDirectory(0) + "/")
        }
    }

    private static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    // MARK: what must not be left

    private func leftovers() throws -> [String] {
        let groups = host.controlGroupFiles(["cgroup.procs"]).filter { access($0, F_OK) == 0 }
        let links = HostFacts.links(ofInstance: host.name)
        let more = try Self.mounts(host).subtracting(mounts)
        let rules = Set(try Self.rules(host)).subtracting(self.rules).map { "rule \($0)" }
        return rules + groups + links.map { "link \($0)" } + more.map { "mount \($0)" }
            + runtimes().map { "runtime \($0)" }
    }

    /// The lines of the instance's tables, without counters.
    private static func rules(_ host: Installation) throws -> [String] {
        let tables = try HostFacts.run("nft", ["list", "tables"]).split(separator: "\n").filter {
            $0.contains(host.name)
        }
        return try tables.flatMap { table in
            try HostFacts.run("nft", ["-s", "list"] + table.split(separator: " ").map(String.init))
                .split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    private static func mounts(_ host: Installation) throws -> Set<String> {
        let lines = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).split(separator: "\n")
        return Set(
            lines.compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) }
                .filter { $0.contains("/\(host.nodeName(0))") || $0.contains("/\(host.name)/") })
    }
}
