import FastableCore
import Foundation
import TestSupport
import Testing

/// What commands leave behind once they are over: nothing that grows. `make bench` runs ten thousand of them.
@Suite("What commands leave", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct RemainderTests {
    /// `FASTABLE_REMAINDER_EXECS` sets another number.
    private static let commands =
        ProcessInfo.processInfo.environment["FASTABLE_REMAINDER_EXECS"].flatMap { Int($0) } ?? 400

    /// One of each kind; how it is asked for, and the exit code that it must have.
    private static let kinds: [Kind] = [
        Kind(["cmd": ["true"]], 0), Kind(["cmd": ["sh", "-c", "exit 3"]], 3),
        Kind(["cmd": "exec 2> /dev/null; /no/program"], 127),
        Kind(["cmd": "sleep 0.01 & sleep 0.01 & wait"], 0), Kind(["cmd": "sleep 0.02 & exit 4"], 4),
        Kind(["cmd": "cat > /dev/null", "stdin": "to be read"], 0), Kind(["cmd": "kill -9 $$"], .null),
        Kind(["cmd": "(setsid sleep 0.02 &) ; true", "env": ["A": "b"]], 0),
    ]

    private struct Kind {
        var input: JSONValue
        var exitCode: JSONValue

        init(_ input: JSONValue, _ exitCode: JSONValue) {
            self.input = input
            self.exitCode = exitCode
        }
    }

    private static func run(_ host: Installation, _ count: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                if number >= 4 { try await group.next() }
                group.addTask { try await run(host, kinds[number % kinds.count]) }
            }
            try await group.waitForAll()
        }
    }

    private static func run(_ host: Installation, _ kind: Kind) async throws {
        var input = kind.input.object ?? [:]
        input["project"] = "p"
        let answer = try await host.tool("shell.exec", .object(input))
        #expect(answer["exitCode"] == kind.exitCode, "\(answer)")
    }

    // MARK: figures

    private static func names(_ path: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    private static func projectDirectory(_ host: Installation) throws -> String {
        let projects = host.directory.appending(path: "node-0/projects").path
        return "\(projects)/\(try #require(names(projects).first))"
    }

    /// The container's first process, by the node's own record of it.
    private static func initProcess(_ host: Installation) throws -> Int {
        let record = try Data(contentsOf: URL(fileURLWithPath: projectDirectory(host) + "/record.json"))
        return Int(try #require(try JSON.decode(JSONValue.self, from: record)["process"]?["pid"]?.integer))
    }

    /// Processes of the container, those included that have ended and that nobody has waited for.
    private static func processes(of first: Int) -> Int {
        let namespace = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(first)/ns/pid")
        return names("/proc").filter { name in
            guard Int(name) != nil else { return false }
            if let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(name)/ns/pid") {
                return own == namespace
            }
            let status = (try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8)) ?? ""
            return status.split(separator: ")").last?.hasPrefix(" Z \(first) ") ?? false
        }.count
    }

    /// Control groups below that of the container's first process, in the tree in which commands have theirs.
    private static func groups(below first: Int) throws -> Int {
        let lines = try String(contentsOfFile: "/proc/\(first)/cgroup", encoding: .utf8).split(separator: "\n")
        let own = try #require(lines.first { $0.hasPrefix("0::") }).dropFirst(3)
        let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).split(separator: "\n")
        for mount in mounts {
            let words = mount.split(separator: " ")
            let group = "\(words[1])\(own)"
            guard words[2] == "cgroup2", FileManager.default.fileExists(atPath: group) else { continue }
            let below = try FileManager.default.subpathsOfDirectory(atPath: group)
            return below.filter { $0.hasSuffix("/cgroup.procs") }.count
        }
        throw FastableError(.internal, "The container's first process is in no control group that can be seen.")
    }

    private static func figures(_ host: Installation) throws -> [String: Int] {
        let first = try initProcess(host)
        var figures: [String: Int] = [:]
        figures["processes"] = processes(of: first)
        figures["control groups"] = try groups(below: first)
        figures["descriptors of init"] = names("/proc/\(first)/fd").count
        figures["descriptors of the node"] = names("/proc/\(try host.nodeProcess())/fd").count
        figures["descriptors of the controller"] = names("/proc/\(try host.controllerProcess())/fd").count
        let execs = try projectDirectory(host) + "/execs"
        figures["folders of commands"] = names(execs).filter { !$0.hasSuffix(".json") }.count
        return figures
    }

    /// What is stored of how one command ended.
    private static let bytesPerResult = 192

    /// How many bytes the node has stored of how commands ended.
    private static func resultBytes(_ host: Installation) throws -> Int {
        let folder = try projectDirectory(host) + "/execs/ended"
        var bytes = 0
        for name in names(folder) where Int(name) != nil {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
            bytes += (attributes[.size] as? Int) ?? 0
        }
        return bytes
    }

    @Test(.endsInTime) func hundredsOfCommandsLeaveNothing() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            // What is made once, for the first of them.
            let first = 10 * Self.kinds.count
            try await Self.run(host, first)
            var before: [String: Int] = [:]
            // Results are written, and connections closed, a moment after the answer.
            try await eventually("those are over") {
                before = try Self.figures(host)
                let isIdle = before["processes"] == 1 && before["control groups"] == 0
                return try isIdle && Self.resultBytes(host) == first * Self.bytesPerResult
            }
            try await Self.run(host, Self.commands)
            var after: [String: Int] = [:]
            try? await eventually("all is as before", seconds: 30) {
                after = try Self.figures(host)
                return after.allSatisfy { $0.value <= before[$0.key] ?? 0 }
            }
            print("before \(before)\nafter \(Self.commands) commands \(after)")
            for (name, count) in after { #expect(count <= before[name] ?? 0, "\(name)") }
            try await eventually("each has one entry among the results") {
                try Self.resultBytes(host) == (first + Self.commands) * Self.bytesPerResult
            }
        }
    }
}
