import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// Kill switches with real daemons. What is left of a command is asked of the host's own list of processes.
@Suite("Killing", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct KillTests {
    /// A number that stands in the command lines of one test only.
    private static func mark() -> Int { Int.random(in: 1_000_000...9_000_000) }

    private static func processes(_ mark: Int) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).filter { name in
            guard Int(name) != nil, let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline") else {
                return false
            }
            let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.first?.hasSuffix("sleep") == true && words.contains("\(mark)")
        }
    }

    /// A command whose children leave their session and their parents.
    private static func spread(_ host: Installation, _ project: String, _ mark: Int) async throws -> String {
        let answer = try await host.tool(
            "shell.exec",
            [
                "project": .string(project), "detach": true,
                "cmd": .string("setsid sh -c '(sleep \(mark) &) ; sleep \(mark) &' & sleep \(mark)"),
            ])
        try await eventually("all of it runs") { processes(mark).count == 3 }
        return answer["execId"]?.string ?? ""
    }

    private static func names(_ answer: JSONValue, _ field: String) -> [String] {
        (answer[field]?.array ?? []).compactMap { $0["name"]?.string }
    }

    /// A node has answered in time that all has ended, for which a busy machine may need longer.
    private static func isProven(_ answer: JSONValue) -> Bool {
        let receipts = (answer["acknowledged"]?.array ?? []).flatMap { $0["receipts"]?.array ?? [] }
        return !receipts.isEmpty && receipts.allSatisfy { $0["effect"] == "ended" }
    }

    private static func milliseconds(_ answer: JSONValue) -> [Int64] {
        (answer["acknowledged"]?.array ?? []).compactMap { $0["milliseconds"]?.integer }
    }

    @Test(.endsInTime)
    func aKilledProjectLeavesNoProcessAndIsHeld() async throws {
        try await Installation.with { host in
            for name in ["p", "q"] { try await host.tool("projects_create", ["name": .string(name)]) }
            let (mark, other) = (Self.mark(), Self.mark())
            _ = try await Self.spread(host, "p", mark)
            _ = try await Self.spread(host, "q", other)
            // A dry run goes by the nodes' last reports, which come every few seconds.
            try await eventually("a dry run finds it") {
                try await host.cli(["kill", "project", "p", "--reason", "look", "--dry-run"]).contains(host.nodeName(0))
            }
            #expect(Self.processes(mark).count == 3)
            let text = try await host.cli(["kill", "project", "p", "--reason", "it mines", "--hold", "--json"])
            let answer = try JSON.decode(JSONValue.self, from: Data(text.utf8))
            print("kill.project: acknowledged after \(Self.milliseconds(answer)) ms")
            let effect = answer["acknowledged"]?.array?.first?["receipts"]?.array?.first?["effect"]
            if effect != "ended" {
                // A busy machine may need longer than the answer waits, and the answer says so.
                #expect(effect == nil || effect == "unconfirmed")
                try await eventually("the node acknowledges it later") {
                    let held = try await host.tool("kill.list", [:])["switches"]?.array?.first
                    return held?["awaited"]?.array?.isEmpty ?? (held != nil)
                }
            }
            #expect(Self.processes(mark).isEmpty, "a process was left when the node acknowledged")
            #expect(Self.processes(other).count == 3, "the neighbour must live")
            let refused = try await host.cli(["exec", "p", "--", "true"], expectStatus: 125)
            #expect(refused.contains("it mines") && refused.contains("kill lift"))
            let id = try #require(answer["id"]?.string)
            #expect(try await host.cli(["kill", "list"]).contains(id))
            _ = try await host.cli(["kill", "lift", id])
            #expect(try await host.exec("p", "echo again")["stdout"] == "again\n")
            let events = try await host.tool("audit_list", ["limit": 50])["events"]?.array ?? []
            #expect(events.contains { $0["operation"] == "kill.project" && $0["detail"]?["reason"] == "it mines" })
        }
    }

    @Test(.endsInTime)
    func aCommandAloneIsKilledAndItsContainerLives() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let (mark, other) = (Self.mark(), Self.mark())
            let exec = try await Self.spread(host, "p", mark)
            _ = try await Self.spread(host, "p", other)
            let answer = try await host.tool("kill.exec", ["execId": .string(exec), "reason": "never ends"])
            #expect(answer["execs"]?.integer == 1)
            if answer["unconfirmed"]?.integer != 0 {
                // A busy machine may need longer than the answer waits, and the answer says so.
                try await eventually("it ends later") { Self.processes(mark).isEmpty }
            }
            #expect(Self.processes(mark).isEmpty && Self.processes(other).count == 3)
        }
    }

    @Test(.endsInTime)
    func aNodeThatIsAwayIsListedAndKillsBeforeItServesAgain() async throws {
        try await Installation.with(nodes: 2) { host in
            var marks: [(project: String, mark: Int, node: String)] = []
            for index in 0..<4 {
                let project = "p\(index)"
                try await host.tool("projects_create", ["name": .string(project)])
                let mark = Self.mark()
                _ = try await Self.spread(host, project, mark)
                let shown = try await host.tool("projects_get", ["project": .string(project)])
                marks.append((project, mark, shown["node"]?.string ?? ""))
            }
            host.killNode(1)
            try await eventually("node 1 is away") { await host.nodeState(1) == "offline" }
            let answer = try await host.tool("admin_kill_all", ["reason": "fire"])
            print("admin_kill_all with a node away: acknowledged after \(Self.milliseconds(answer)) ms")
            let (acknowledged, missing) = (Self.names(answer, "acknowledged"), Self.names(answer, "missing"))
            #expect(missing.contains(host.nodeName(1)) && !acknowledged.contains(host.nodeName(1)))
            #expect(Set(acknowledged + missing) == [host.nodeName(0), host.nodeName(1)])
            if !Self.isProven(answer) {
                try await eventually("the node that is there kills, if late") {
                    marks.allSatisfy { $0.node == host.nodeName(1) || Self.processes($0.mark).isEmpty }
                }
            }
            let left = marks.filter { !Self.processes($0.mark).isEmpty }
            #expect(!left.isEmpty && left.count < 4, "the node that is away still has its containers")
            async let started: Void = host.startNode(1)
            for one in left {
                // From the first moment on: whatever starts must start after the kill.
                try await eventually("\(one.project) runs again") {
                    (try? await host.exec(one.project, "true")) != nil
                }
                #expect(Self.processes(one.mark).isEmpty, "something was served before the switch was in force")
            }
            try await started
            try await eventually("the kill is over") {
                try await host.tool("kill.list", [:])["switches"] == []
            }
        }
    }

    @Test(.endsInTime)
    func aDeathOfTheNodeWhileItKillsChangesNothing() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            for round in 0..<4 {
                let mark = Self.mark()
                _ = try await Self.spread(host, "p", mark)
                let kill = Task {
                    try await host.tool(
                        "kill.project", ["project": "p", "reason": .string("round \(round)"), "hold": true])
                }
                try await Task.sleep(for: .milliseconds([0, 5, 15, 40][round]))
                host.killNode(0)
                let answer = try await kill.value
                let wasAcknowledged = Self.isProven(answer)
                if wasAcknowledged { #expect(Self.processes(mark).isEmpty) }
                // The first start is without the controller: what was stored counts.
                let file = host.directory.appending(path: "node-0/switches.json")
                let isStored = (try? String(contentsOf: file, encoding: .utf8))?.contains("round \(round)") ?? false
                print("round \(round): stored \(isStored), acknowledged \(wasAcknowledged)")
                if isStored {
                    host.killController()
                    try await host.startNode(0, expectReady: false)
                    try await eventually("it is carried out by what is on the disk") { Self.processes(mark).isEmpty }
                    try await host.startController()
                    try await eventually("the node is back") { await host.nodeState(0) == "ready" }
                } else {
                    try await host.startNode(0)
                }
                await expectFailure(.unavailable) { _ = try await host.exec("p", "true") }
                try await eventually("it is carried out") { Self.processes(mark).isEmpty }
                try await host.tool("kill.lift", ["id": answer["id"] ?? .null])
                _ = try await host.exec("p", "true")
            }
        }
    }

    @Test(.endsInTime)
    func theHostsSwitchWorksWithoutTheControllerAndWithoutTheDaemon() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            func killSwitch(_ arguments: String...) async throws -> String {
                try await host.run("fastable-node", ["kill-switch"] + arguments + host.nodeOptions(0))
            }
            #expect(try await killSwitch("status") == "off\n")
            for (isAlive, hasController) in [(true, true), (true, false), (false, true)] {
                let mark = Self.mark()
                _ = try await Self.spread(host, "p", mark)
                if !hasController { host.killController() }
                if !isAlive { host.killNode(0) }
                let began = ContinuousClock.now
                let text = try await killSwitch("on", "--reason", "smoke")
                print("kill-switch on, daemon \(isAlive), controller \(hasController): \(ContinuousClock.now - began)")
                if isAlive {
                    // Also when the daemon of a busy machine answers too late for the command that waits for it.
                    try await eventually("the daemon has it in force") {
                        try await killSwitch("status").contains("in force")
                    }
                    #expect(!text.contains("does not answer") || ContinuousClock.now - began > Self.answerTime)
                } else {
                    #expect(text.contains("does not answer"), "\(text)")
                }
                #expect(Self.processes(mark).isEmpty)
                #expect(try await killSwitch("status").contains("smoke"))
                if !hasController { try await host.startController() }
                if !isAlive { try await host.startNode(0) }
                try await eventually("the node is ready") { await host.nodeState(0) == "ready" }
                try await eventually("the controller knows") {
                    try await host.cli(["node", "show", host.nodeName(0)]).contains("smoke")
                }
                let error = await expectFailure(.unavailable) { _ = try await host.exec("p", "true") }
                #expect(error?.message.contains("kill-switch off") == true, "\(String(describing: error))")
                // The controller does not lift it.
                try await host.tool("admin_enable", [:])
                await expectFailure(.unavailable) { _ = try await host.exec("p", "true") }
                #expect(try await killSwitch("off").hasPrefix("Off."))
                try await eventually("it runs again") { (try? await host.exec("p", "true")) != nil }
            }
        }
    }

    private static let answerTime = Duration.milliseconds(Limits.killAnswerMilliseconds)

    @Test(.endsInTime)
    func noCommandStartsAfterPathBWasDisabledAndOthersGoOn() async throws {
        try await Installation.with { host in
            for name in ["p", "q"] { try await host.tool("projects_create", ["name": .string(name)]) }
            for name in ["p", "q"] { _ = try await host.exec(name, "true") }
            async let existing = host.exec("q", "until [ -e gate ]; do sleep 0.1; done; echo end")
            try await eventually("it runs") {
                try await host.tool("devcontainer.status", ["project": "q"])["runningExecs"]?.integer == 1
            }
            let refusals = Counter()
            let load = (0..<6).map { _ in
                Task {
                    while !Task.isCancelled {
                        do { _ = try await host.exec("p", "echo x >>/workspace/log") } catch is FastableError {
                            refusals.add()
                            try? await Task.sleep(for: .milliseconds(20))
                        }
                    }
                }
            }
            func written() async throws -> Int {
                try await host.tool("fs.stat", ["project": "p", "path": "log"])["sizeBytes"]?.integer.map(Int.init) ?? 0
            }
            try await eventually("there is load") { ((try? await written()) ?? 0) > 20 }
            // The best of some: what else the machine does at a moment is no part of it.
            var best = Duration.seconds(3600)
            for attempt in 0..<3 where best >= .seconds(10) {
                if attempt > 0 { #expect(try await host.request(.POST, "/api/admin/path-b/enable").status == 200) }
                let began = ContinuousClock.now
                let answer = try await host.request(
                    .POST, "/api/admin/path-b/disable", body: Data(#"{"reason":"maintenance"}"#.utf8))
                best = min(best, ContinuousClock.now - began)
                #expect(answer.status == 200)
            }
            print("path-b/disable under load: answered after \(best)")
            #expect(best < .seconds(10))
            // What had started may still write its line.
            try await eventually("what had started ends") {
                try await host.tool("devcontainer.status", ["project": "p"])["runningExecs"]?.integer == 0
            }
            let (size, refused) = (try await written(), refusals.count)
            try await eventually("many more try") { refusals.count > refused + 50 }
            #expect(try await written() == size, "a command has started")
            for task in load {
                task.cancel()
                _ = await task.result
            }
            // By the host: nothing is written through the node now.
            let other = try #require(try await host.tool("projects_get", ["project": "q"])["id"]?.string)
            try Data().write(to: host.directory.appending(path: "node-0/projects/\(other)/workspace/gate"))
            #expect(try await existing["stdout"] == "end\n")
            let push = try await host.request(.PUT, "/api/projects/p/fs/tree", body: Data(count: 1024))
            #expect(push.status == 503)
            #expect(try await host.request(.POST, "/api/admin/path-b/enable").status == 200)
            _ = try await host.exec("p", "true")
            #expect(try await host.request(.POST, "/api/admin/path-b/idle-sweep?minutes=x").status == 400)
            let swept = try await host.request(.POST, "/api/admin/path-b/idle-sweep?minutes=0")
            #expect(String(decoding: swept.body, as: UTF8.self).contains("\"suspended\":2"), "\(swept.body)")
        }
    }
}
