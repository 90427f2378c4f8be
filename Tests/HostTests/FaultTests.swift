import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

/// Bytes on their way through all of it while both daemons are killed at random moments: what arrives is what was sent.
///
/// The moments are places in the bytes, so that a slow machine sees the same as a fast one. `make test` runs a short form; `make
/// test-faults` repeats it with more rounds and more bytes.
@Suite(
    "Faults on the way of bytes", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct FaultTests {
    private static let rounds = number("FASTABLE_FAULT_ROUNDS") ?? 1
    /// More than a node keeps of a stream.
    private static let megabytes = number("FASTABLE_FAULT_MEGABYTES") ?? 40
    private static let kills = max(3, megabytes / 16)
    /// How long a daemon stands still: longer than a link may be silent.
    private static let pauseSeconds = number("FASTABLE_FAULT_PAUSE_SECONDS") ?? Limits.linkSilenceSeconds + 5
    private static let silences: [(Direction, Bool)] =
        number("FASTABLE_FAULT_PAUSE_SECONDS") == nil
        ? [(.output, true), (.input, false)]
        : Direction.allCases.flatMap { [($0, true), ($0, false)] }
    /// Given to repeat a run that failed.
    private static let seeds =
        number("FASTABLE_FAULT_SEED").map { [UInt64(bitPattern: Int64($0))] }
        ?? (0..<rounds).map { _ in UInt64(UInt32.random(in: .min ... .max)) }

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    enum Direction: CaseIterable { case output, input }

    /// A file goes into a container as a command's input, or out of it as its output. Output also goes to a second follower, which
    /// goes away and comes back at random.
    @Test(
        .timeLimit(.minutes(90)), arguments: Direction.allCases, seeds)
    func whatWasSentIsWhatArrives(_ direction: Direction, seed: UInt64) async throws {
        try await Installation.with { host in
            var generator = SeededGenerator(seed: seed)
            try await host.tool("projects_create", ["name": "p"])
            let sent = host.directory.appending(path: "sent")
            try Self.writeWords(Self.megabytes << 17, to: sent)
            let all = try Data(contentsOf: sent)
            if direction == .output {
                _ = try await host.request(.PUT, "/api/projects/p/fs/file?path=sent", body: all)
            }
            let pipe = try Pipe(host, direction, sent)
            defer { pipe.process.terminate() }
            let follower = Follower(seed: seed)
            if direction == .output { try await follower.arrive(host) }
            async let second = direction == .output ? follower.read(all.count, host) : nil
            let moments = (0..<Self.kills).map { _ in generator.int(1...Self.megabytes * 9 / 10) << 20 }.sorted()
            for moment in moments {
                try await pipe.hasCome(to: moment)
                guard pipe.process.isRunning else { break }
                try await Self.kill(generator.chance(40), pause: generator.int(0...500), host)
            }
            try await pipe.check(all, host, "\(direction), seed \(seed)")
            if let second = try await second {
                let difference = Self.difference(all, second)
                #expect(difference == nil, "second follower, seed \(seed)")
            }
            print("\(Self.megabytes) MB of \(direction), \(Self.kills) kills, seed \(seed)")
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
        }
    }

    /// Both daemons live, and hear nothing of each other for longer than a link may be silent.
    @Test(.timeLimit(.minutes(5)), arguments: silences)
    func aSilentLinkLosesNothing(_ direction: Direction, isController: Bool) async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let sent = host.directory.appending(path: "sent")
            try Self.writeWords(40 << 17, to: sent)
            let all = try Data(contentsOf: sent)
            if direction == .output {
                _ = try await host.request(.PUT, "/api/projects/p/fs/file?path=sent", body: all)
            }
            let pipe = try Pipe(host, direction, sent)
            defer { pipe.process.terminate() }
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            try await pipe.hasCome(to: 5 << 20)
            #expect(pipe.process.isRunning)
            if isController {
                try await host.pauseController(seconds: Self.pauseSeconds)
            } else {
                try await host.pauseNode(0, seconds: Self.pauseSeconds)
            }
            try await pipe.check(all, host, "\(direction), \(isController ? "controller" : "node")")
        }
    }

    private static func kill(_ controller: Bool, pause: Int, _ host: Installation) async throws {
        if controller { host.killController() } else { host.killNode(0) }
        try await Task.sleep(for: .milliseconds(pause))
        if controller {
            try await host.startController()
        } else {
            try await host.startNode(0, expectReady: false)
        }
    }

    /// Where two files begin to differ, `nil` when they are the same.
    fileprivate static func difference(_ sent: Data, _ arrived: Data) -> String? {
        guard sent != arrived else { return nil }
        let words = min(sent.count, arrived.count) / 8
        let place = (0..<words).first { word(sent, $0) != word(arrived, $0) }
        let found = place.map { word(arrived, $0) }
        return
            "\(sent.count / 8) words were sent, \(arrived.count / 8) arrived; at \(place ?? words) stands \(found ?? 0)"
    }

    private static func word(_ data: Data, _ index: Int) -> UInt64 {
        data.withUnsafeBytes { UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)) }
    }

    /// Every word tells its place, so that what is wrong tells where it came from.
    private static func writeWords(_ count: Int, to file: URL) throws {
        let words = (0..<UInt64(count)).map(\.bigEndian)
        try words.withUnsafeBytes { try Data($0).write(to: file) }
    }

    /// `fastable exec -i p -- …` with files at its ends.
    private struct Pipe {
        let process = Process()
        let arrived: URL
        let errors: URL

        private let direction: Direction

        init(_ host: Installation, _ direction: Direction, _ sent: URL) throws {
            self.direction = direction
            arrived = host.directory.appending(path: "arrived")
            errors = host.directory.appending(path: "errors")
            for file in [arrived, errors] { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
            process.executableURL = host.programs.appending(path: "fastable")
            process.arguments = [
                "exec", "-i", "p", "--",
                direction == .input ? "cat > got" : "until [ -e gate ]; do sleep 0.02; done; cat sent",
            ]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
            ]) { $1 }
            process.standardInput = direction == .input ? try FileHandle(forReadingFrom: sent) : FileHandle.nullDevice
            process.standardOutput = try FileHandle(forWritingTo: arrived)
            process.standardError = try FileHandle(forWritingTo: errors)
            try process.run()
        }

        /// Returns when so many bytes have been read from the one end, or have come out at the other.
        func hasCome(to count: Int) async throws {
            while process.isRunning, try position() < count { try await Task.sleep(for: .milliseconds(5)) }
        }

        private func position() throws -> Int {
            guard direction == .input else {
                return try FileManager.default.attributesOfItem(atPath: arrived.path)[.size] as? Int ?? 0
            }
            let facts = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/fdinfo/0", encoding: .utf8)
            return facts?.firstMatch(of: /pos:\s+(\d+)/).flatMap { Int($0.1) } ?? 0
        }

        /// Waits for the end and compares what arrived.
        func check(_ all: Data, _ host: Installation, _ what: String) async throws {
            while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
            let said = String(decoding: (try? Data(contentsOf: errors)) ?? Data(), as: UTF8.self)
            #expect(process.terminationStatus == 0, "\(what): \(said)")
            let difference = FaultTests.difference(all, try await result(host))
            #expect(difference == nil, "\(what): \(said)")
        }

        /// What came out at the other end. By then everything runs again.
        private func result(_ host: Installation) async throws -> Data {
            guard direction == .input else { return try Data(contentsOf: arrived) }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            return try await host.request(.GET, "/api/projects/p/fs/file?path=got").body
        }
    }

    /// Reads the only command's output by REST, some megabytes at a time.
    private struct Follower {
        var generator: SeededGenerator

        /// The node has dropped what this follower had a right to.
        private struct Lost: Error {}

        init(seed: UInt64) { generator = SeededGenerator(seed: ~seed) }

        /// Becomes known to the command before that prints: from then on it is waited for.
        func arrive(_ host: Installation) async throws {
            try await eventually("the second follower is known") {
                guard let exec = try await Self.exec(host) else { return false }
                return try await host.open(Self.path(exec, 0)).status == .ok
            }
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
        }

        private static func exec(_ host: Installation) async throws -> String? {
            try await host.tool("shell.list", ["project": "p"])["execs"]?.array?.first?["execId"]?.string
        }

        private static func path(_ exec: String, _ offset: Int) -> String {
            "/api/execs/\(exec)/output?stream=stdout&follow=true&follower=second&offset=\(offset)"
        }

        func read(_ count: Int, _ host: Installation) async throws -> Data {
            var generator = generator
            var bytes = Data()
            var exec: String?
            while bytes.count < count {
                try Task.checkCancellation()
                do {
                    if exec == nil { exec = try await Self.exec(host) }
                    guard let exec else { continue }
                    try await read(exec, most: generator.int(1...8) << 20, host, into: &bytes)
                } catch let lost as Lost {
                    throw lost
                } catch {
                    // The daemons are killed again and again.
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            return bytes
        }

        private func read(_ exec: String, most: Int, _ host: Installation, into bytes: inout Data) async throws {
            let response = try await host.open(Self.path(exec, bytes.count))
            guard response.status == .ok else { throw FastableError(.unavailable, "\(response.status)") }
            guard response.headers.first(name: "X-Fastable-Offset") == "\(bytes.count)" else { throw Lost() }
            let end = bytes.count + most
            for try await part in response.body {
                bytes.append(contentsOf: part.readableBytesView)
                if bytes.count >= end { break }
            }
        }
    }
}
