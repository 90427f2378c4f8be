import FastableCore
import Foundation
import TestSupport
import Testing

/// Projects with some content, and what happens to them in each step of their containers' lives.
struct FaultBattery {
    typealias Step = LifecycleFaultTests.Step
    typealias Fault = LifecycleFaultTests.Fault

    private let host: Installation
    /// By project: the plain one, and where the kernel has loop devices the one with a disk.
    private let contents: [String: String]
    private let atRest: HostAtRest
    private var made = 0

    private static let plain = "p"
    private static let withDisk = "d"

    init(_ host: Installation) async throws {
        self.host = host
        var contents = [Self.plain: try await Self.fill(Self.plain, hasDisk: false, host)]
        if DiskHost.missing == nil {
            contents[Self.withDisk] = try await Self.fill(Self.withDisk, hasDisk: true, host)
        }
        self.contents = contents
        atRest = try HostAtRest(host)
    }

    /// A new project without a container, and what it holds.
    private static func fill(_ project: String, hasDisk: Bool, _ host: Installation) async throws -> String {
        try await create(project, hasDisk: hasDisk, host)
        let filled = try await host.exec(
            project,
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise \
            && for i in $(seq 300); do echo $i > deep/$i; done && sync
            """)
        #expect(filled["exitCode"] == 0, "\(filled)")
        let content = try await WorkspaceListing.of(project, on: host)
        try await host.tool("devcontainer.stop", ["project": .string(project)])
        return content
    }

    private static func create(_ project: String, hasDisk: Bool, _ host: Installation) async throws {
        var wish: [String: JSONValue] = ["name": .string(project)]
        if hasDisk { wish["limits"] = ["diskBytes": .integer(128 << 20)] }
        try await host.tool("projects_create", .object(wish))
    }

    /// The project that a fault is tried on. Disks promise more than their node has: when that is full, writing to one fails, and it
    /// may have to be mounted again.
    private func subject(of fault: Fault) -> String {
        fault != .disk && contents[Self.withDisk] != nil ? Self.withDisk : Self.plain
    }

    /// What a disk at rest has still to write must not meet a full node.
    private func settleDisks() throws {
        let disks = try HostFacts.mountPoints().filter {
            $0.contains("/\(host.name)/") && $0.contains("/projects/") && $0.hasSuffix("/disk")
        }
        for disk in disks { try HostFacts.run("sync", ["-f", disk]) }
    }

    /// Whether there was anything to be hit.
    mutating func round(
        _ step: Step, _ fault: Fault, afterMilliseconds: Int, _ seed: String
    ) async throws -> Bool {
        let what = "\(fault.rawValue) \(afterMilliseconds) ms into \(step.rawValue), \(seed)"
        let subject = subject(of: fault)
        let project = try await prepare(step, subject)
        if fault == .disk { try settleDisks() }
        let isOver = Flag()
        let work = Task { [host] in
            defer { isOver.raise() }
            try await Self.perform(step, on: project, host)
        }
        try await Task.sleep(for: .milliseconds(afterMilliseconds))
        let isDone = try await strike(fault, until: isOver)
        _ = await work.result
        try await eventually("the node is back after \(what)") { await host.nodeState(0) == "ready" }
        if step == .delete {
            try await eventually("it is deleted after \(what)") { try await Self.isGone(project, host) }
            #expect(try await Self.isSaved(project, host), "it was not saved before it was deleted, \(what)")
        } else {
            try await eventually("it can be used after \(what)") {
                (try? await host.exec(project, "true"))?["exitCode"] == 0
            }
        }
        if project != subject, step != .delete {
            try await host.tool("projects_delete", ["project": .string(project)])
        }
        #expect(try await WorkspaceListing.of(subject, on: host) == contents[subject], "\(what)")
        try await host.tool("devcontainer.stop", ["project": .string(subject)])
        var left: [String] = []
        do {
            try await eventually("nothing is left after \(what)") {
                left = try atRest.leftovers()
                return left.isEmpty
            }
        } catch {
            #expect(left == [], "\(what)")
            throw error
        }
        return isDone
    }

    /// What a step begins with.
    private mutating func prepare(_ step: Step, _ subject: String) async throws -> String {
        let input: JSONValue = ["project": .string(subject)]
        switch step {
        case .create, .delete:
            made += 1
            let fresh = "q\(made)"
            try await Self.create(fresh, hasDisk: subject == Self.withDisk, host)
            if step == .delete {
                // What has been put on the disk no loss of power takes, so it has to be saved whatever happens.
                let written = try await host.exec(fresh, "echo x > /workspace/file && sync")
                #expect(written["exitCode"] == 0, "\(written)")
            }
            return fresh
        case .suspend, .stop, .restart, .snapshot, .archive: try await host.tool("devcontainer.ensure", input)
        case .wake:
            try await host.tool("devcontainer.ensure", input)
            try await host.tool("devcontainer.suspend", input)
        case .restore:
            try await host.tool("devcontainer.archive", input)
        }
        return subject
    }

    /// Whether it succeeds is not asked: what matters is what is true afterwards.
    private static func perform(_ step: Step, on project: String, _ host: Installation) async throws {
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

    /// Whether a snapshot has the file with which a project was deleted.
    private static func isSaved(_ project: String, _ host: Installation) async throws -> Bool {
        let snapshots = try await host.tool("projects_snapshots", [:])["snapshots"]?.array ?? []
        return snapshots.contains { snapshot in
            guard snapshot["projectName"]?.string == project, snapshot["reason"] == "delete" else { return false }
            return snapshot["state"] == "verified" && snapshot["contentBytes"] == 2
        }
    }

    private func strike(_ fault: Fault, until isOver: Flag) async throws -> Bool {
        switch fault {
        case .node:
            host.killNode(0)
            try await host.startNode(0)
        case .controller:
            host.killController()
            try await host.startController()
        case .initProcess: return try await isOver.tries { host.killInits() }
        case .runtime: return try await isOver.tries { host.killRuntimes() }
        case .reboot, .powerCut:
            try await host.loseHost(0, power: fault == .powerCut)
            try await host.startNode(0)
        case .link: try await host.withCutLink { try await Task.sleep(for: .seconds(2)) }
        case .disk: try await host.fillDisk { try await Task.sleep(for: .seconds(1)) }
        case .clock: try await host.jumpClock()
        }
        return true
    }
}
