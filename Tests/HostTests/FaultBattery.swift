import FastableCore
import Foundation
import TestSupport
import Testing

/// One project with some content, and what happens to it in each step of its container's life.
struct FaultBattery {
    typealias Step = LifecycleFaultTests.Step
    typealias Fault = LifecycleFaultTests.Fault

    private let host: Installation
    private let content: String
    private let atRest: HostAtRest
    private var made = 0

    init(_ host: Installation) async throws {
        self.host = host
        try await host.tool("projects_create", ["name": "p"])
        let filled = try await host.exec(
            "p",
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise \
            && for i in $(seq 300); do echo $i > deep/$i; done && sync
            """)
        #expect(filled["exitCode"] == 0, "\(filled)")
        content = try await WorkspaceListing.of("p", on: host)
        try await host.tool("devcontainer.stop", ["project": "p"])
        atRest = try HostAtRest(host)
    }

    /// Whether there was anything to be hit.
    mutating func round(
        _ step: Step, _ fault: Fault, afterMilliseconds: Int, _ seed: String
    ) async throws -> Bool {
        let what = "\(fault.rawValue) \(afterMilliseconds) ms into \(step.rawValue), \(seed)"
        let project = try await prepare(step)
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
        } else {
            try await eventually("it can be used after \(what)") {
                (try? await host.exec(project, "true"))?["exitCode"] == 0
            }
        }
        if project != "p", step != .delete { try await host.tool("projects_delete", ["project": .string(project)]) }
        #expect(try await WorkspaceListing.of("p", on: host) == content, "\(what)")
        try await host.tool("devcontainer.stop", ["project": "p"])
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
    private mutating func prepare(_ step: Step) async throws -> String {
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
