import Foundation
import Synchronization
import TestSupport
import Testing

/// The daemons of one test, by name.
final class ProcessTable: Sendable {
    private let running = Mutex<[String: Int32]>([:])

    func start(_ name: String, _ program: URL, _ arguments: [String], clock: SetClock? = nil, log: URL) throws {
        let process = Process()
        if let clock { process.environment = ProcessInfo.processInfo.environment.merging(clock.environment) { $1 } }
        process.executableURL = program
        process.arguments = arguments
        if !FileManager.default.fileExists(atPath: log.path) {
            _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        }
        let file = try FileHandle(forWritingTo: log)
        try file.seekToEnd()
        process.standardOutput = file
        process.standardError = file
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // Foundation keeps it open until nobody holds the process any more, and watches processes by `select`, which has a thousand.
        try file.close()
        running.withLock { $0[name] = process.processIdentifier }
    }

    func number(_ name: String) -> Int32? { running.withLock { $0[name] } }

    func kill(_ name: String) { end(name, with: SIGKILL) }

    func stop(_ name: String) async { try? await blocking { self.end(name, with: SIGTERM) } }

    func pid(_ name: String) throws -> Int32 { try #require(running.withLock { $0[name] }) }

    /// It does nothing for a while: its connections are silent, and none of them is closed.
    func pause(_ name: String, seconds: Int) async throws {
        let pid = try pid(name)
        Glibc.kill(pid, SIGSTOP)
        defer { Glibc.kill(pid, SIGCONT) }
        try await Task.sleep(for: .seconds(seconds))
    }

    /// `RssAnon` of a daemon.
    func privateKilobytes(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(try pid(name))/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return try #require(line?.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    }

    private func end(_ name: String, with signal: Int32) {
        guard let pid = running.withLock({ $0.removeValue(forKey: name) }) else { return }
        Glibc.kill(pid, signal)
        for _ in 0..<6000 {
            // Foundation reaps its children, so the number goes away when the process does.
            if Glibc.kill(pid, 0) != 0 { return }
            usleep(20_000)
        }
        Glibc.kill(pid, SIGKILL)
    }
}
