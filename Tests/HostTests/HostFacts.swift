import FastableCore
import Foundation

/// What the host has that belongs to one instance.
enum HostFacts {
    /// Each thing with its kind. The names of an instance's nodes begin with its own.
    ///
    /// - Parameter links: what `links` told while the instance lived.
    static func remains(ofInstance name: String, links: Set<String>) throws -> [String] {
        let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).split(separator: "\n")
            .filter { $0.contains("/run/fastable/\(name)-") || $0.contains("/var/lib/fastable/\(name)/") }
            .map { "mount \($0)" }
        let tables = try run("nft", ["list tables"]).split(separator: "\n").filter { $0.contains(name) }
            .map { "nft \($0)" }
        let others = leases(name).map { "lease \($0)" } + links.intersection(allLinks()).map { "link \($0)" }
        return mounts + tables + others + controlGroups(name) + processes(name) + loopDevicesAtRest(name)
    }

    /// The files behind loop devices whose names contain a text, one for each device.
    static func loopFiles(_ text: String) -> [String] {
        names("/sys/block").filter { $0.hasPrefix("loop") }.compactMap { device in
            let file = try? String(contentsOfFile: "/sys/block/\(device)/loop/backing_file", encoding: .utf8)
            return file?.contains(text) ?? false ? file?.trimmingCharacters(in: .whitespacesAndNewlines) : nil
        }
    }

    /// A device frees itself a moment after its mount is gone.
    private static func loopDevicesAtRest(_ name: String) -> [String] {
        for _ in 0..<300 where !loopFiles("/\(name)/").isEmpty { usleep(100_000) }
        return loopFiles("/\(name)/").map { "loop device of \($0)" }
    }

    /// The blocks of addresses that the instance's nodes have leased.
    private static func leases(_ name: String) -> [Int] {
        names(blocks).compactMap { file in
            guard let index = Int(file), let bytes = FileManager.default.contents(atPath: "\(blocks)/\(file)"),
                let lease = try? JSON.decode(JSONValue.self, from: bytes),
                lease["instance"]?.string?.hasPrefix(name) ?? false
            else { return nil }
            return index
        }
    }

    private static let blocks = "/var/lib/fastable/blocks"

    /// The instance's network interfaces while its leases last, each with its number: the next instance may get the same names.
    static func links(ofInstance name: String) -> Set<String> {
        let prefixes = leases(name).map { "fb" + ($0 < 16 ? "0" : "") + String($0, radix: 16) + "-" }
        return Set(allLinks().filter { link in prefixes.contains { link.hasPrefix($0) } })
    }

    private static func allLinks() -> [String] {
        names("/sys/class/net").map { link in
            let number = try? String(contentsOfFile: "/sys/class/net/\(link)/ifindex", encoding: .utf8)
            return "\(link) \(number?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "")"
        }
    }

    private static func controlGroups(_ name: String) -> [String] {
        (["/sys/fs/cgroup"] + names("/sys/fs/cgroup").map { "/sys/fs/cgroup/\($0)" }).flatMap { tree in
            names(tree).filter { $0.contains(name) }.map { "cgroup \(tree)/\($0)" }
        }
    }

    static func processes(_ name: String) -> [String] {
        pids().filter { $0 != getpid() }.compactMap { pid in
            guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
            let text = String(decoding: line, as: UTF8.self).replacing("\0", with: " ")
            return text.contains("fastable") && text.contains(name) ? "process \(pid) \(text)" : nil
        }
    }

    static func pids() -> [Int32] { names("/proc").compactMap { Int32($0) } }

    /// What is left in a process's `stat` behind its name: its state, its parent and so on; none of one that has gone.
    private static func state(_ pid: Int32) -> [Substring] {
        text("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
    }

    static func isRunning(_ pid: Int32) -> Bool { state(pid).first == "R" }

    /// Those that have ended and that their parents have not collected.
    static func ended(childrenOf parents: Set<Int32>) -> [Int32] {
        pids().filter { pid in
            let state = state(pid)
            return state.first == "Z" && state.dropFirst().first.flatMap { Int32($0) }.map(parents.contains) ?? false
        }
    }

    /// It may still have to be collected.
    static func hasEnded(_ pid: Int32) -> Bool { ["Z", "X", nil].contains(state(pid).first) }

    /// These processes with all their children, and so on.
    static func descendants(of processes: Set<Int32>) -> Set<Int32> {
        let parents = pids().compactMap { pid in state(pid).dropFirst().first.flatMap { Int32($0) }.map { (pid, $0) } }
        var all = processes
        while true {
            let more = parents.filter { all.contains($0.1) && !all.contains($0.0) }.map(\.0)
            if more.isEmpty { return all }
            all.formUnion(more)
        }
    }

    /// In the order in which they were mounted.
    static func mountPoints() throws -> [String] {
        try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8).split(separator: "\n").compactMap {
            $0.split(separator: " ").dropFirst().first.map(String.init)
        }
    }

    /// What a small file has; nothing when it cannot be read.
    static func text(_ path: String) -> String {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    static func names(_ directory: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    }

    @discardableResult
    static func run(_ program: String, _ arguments: [String]) throws -> String {
        let (status, text) = try Process.output(
            of: URL(fileURLWithPath: "/usr/bin/env"), ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", program] + arguments)
        guard status == 0 else {
            throw FastableError(.internal, "\(program) \(arguments.joined(separator: " ")): \(text)")
        }
        return text
    }
}

extension Process {
    /// Runs a program to its end; what it prints on both streams, in one.
    static func output(
        of program: URL, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> (status: Int32, text: String) {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }
}
