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
    /// How long a daemon stands still, or a link is cut: longer than one may be silent.
    private static let pauseSeconds = number("FASTABLE_FAULT_PAUSE_SECONDS") ?? Limits.linkSilenceSeconds + 5
    private static let silences: [(Direction, Bool)] =
        number("FASTABLE_FAULT_PAUSE_SECONDS") == nil
        ? [(.plain, true), (.input, false)]
        : Direction.allCases.flatMap { [($0, true), ($0, false)] }
    private static let cuts = number("FASTABLE_FAULT_PAUSE_SECONDS") == nil ? [Direction.output] : Direction.allCases
    /// Given to repeat a run that failed.
    private static let seeds =
        number("FASTABLE_FAULT_SEED").map { [UInt64(bitPattern: Int64($0))] }
        ?? (0..<rounds).map { _ in UInt64(UInt32.random(in: .min ... .max)) }

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    /// `plain` is output of a command that is not attached to in the beginning.
    enum Direction: CaseIterable { case output, input, plain }

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
            if direction != .input {
                _ = try await host.request(.PUT, "/api/projects/p/fs/file?path=sent", body: all)
            }
            let pipe = try Pipe(host, direction, sent)
            defer { pipe.end() }
            let follower = SecondFollower(seed: seed)
            switch direction {
            case .output: try await follower.arrive(host)
            case .plain: try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            case .input: break
            }
            async let second = direction == .output ? follower.read(all.count, host) : nil
            let moments = (0..<Self.kills).map { _ in generator.int(1...Self.megabytes * 9 / 10) << 20 }.sorted()
            var live = 0
            for moment in moments {
                try await pipe.hasCome(to: moment)
                if try pipe.isOnItsWay { live += 1 }
                try #require(pipe.process.isRunning, "\(pipe.complaints), seed \(seed)")
                try await Self.restart(&generator, host)
            }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            try await pipe.letTheLastGo(host)
            try await pipe.check(all, host, "\(direction), seed \(seed)")
            if let second = try await second {
                let difference = Self.difference(all, second)
                #expect(difference == nil, "second follower, seed \(seed)")
            }
            print(
                "\(Self.megabytes) MB of \(direction), \(moments.count) kills, \(live) with bytes on their way, seed \(seed)"
            )
            // A short stream may be over, but for what is held back, before the second one.
            #expect(live > 0 || Self.megabytes < 100, "seed \(seed)")
        }
    }

    /// One daemon stands still for longer than a link may be silent: no connection ends, and nothing comes.
    @Test(.endsInTime, arguments: silences)
    func aSilentLinkLosesNothing(_ direction: Direction, isController: Bool) async throws {
        try await Self.whileBytesFlow(direction, "silence of \(isController ? "controller" : "node")") { host in
            if isController {
                try await host.pauseController(seconds: Self.pauseSeconds)
            } else {
                try await host.pauseNode(0, seconds: Self.pauseSeconds)
            }
        }
    }

    /// Both daemons live and work, and no packet of their link gets through for longer than it may be silent.
    @Test(.endsInTime, arguments: cuts)
    func aCutLinkLosesNothing(_ direction: Direction) async throws {
        try await Self.whileBytesFlow(direction, "cut") { host in
            try await host.withCutLink {
                try await Task.sleep(for: .seconds(Self.pauseSeconds))
                try await eventually("nothing got through") { await host.nodeState(0) == "offline" }
            }
        }
    }

    /// What optimized daemons still carry when somebody has seen the first of it and disturbs them.
    private static let flowMegabytes: Int = {
        var isOptimized = true
        assert(
            {
                isOptimized = false
                return true
            }())
        return isOptimized ? 400 : 40
    }()

    private static func whileBytesFlow(
        _ direction: Direction, _ what: String, _ disturb: (Installation) async throws -> Void
    ) async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let sent = host.directory.appending(path: "sent")
            try writeWords(flowMegabytes << 17, to: sent)
            let all = try Data(contentsOf: sent)
            if direction != .input {
                _ = try await host.request(.PUT, "/api/projects/p/fs/file?path=sent", body: all)
            }
            let pipe = try Pipe(host, direction, sent)
            defer { pipe.end() }
            try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
            try await pipe.hasCome(to: 5 << 20)
            #expect(pipe.process.isRunning)
            let links = host.links(of: 0)
            try await disturb(host)
            try await eventually("the loss of the link was noticed") { host.links(of: 0) > links }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            try await pipe.letTheLastGo(host)
            try await pipe.check(all, host, "\(direction), \(what)")
        }
    }

    /// One daemon ends and begins again, now and then both: mostly at once, sometimes as an upgrade does it.
    private static func restart(_ generator: inout SeededGenerator, _ host: Installation) async throws {
        let both = generator.chance(15)
        let controller = both || generator.chance(40)
        let node = both || !controller
        let isGraceful = generator.chance(25)
        if controller { await (isGraceful ? host.stopController() : host.killController()) }
        if node { await (isGraceful ? host.stopNode(0) : host.killNode(0)) }
        try await Task.sleep(for: .milliseconds(generator.int(0...500)))
        if controller { try await host.startController() }
        if node { try await host.startNode(0, expectReady: false) }
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

    /// `fastable exec p -- …` with files at its ends, with `-i` unless it is plain. The last twentieth is not sent before it is let go,
    /// so that the command runs for as long as somebody disturbs it.
    private struct Pipe {
        let process = Process()

        private let direction: Direction
        private let source = Process()
        private let firstBytes: Int
        private let arrived: URL
        private let errors: URL
        private let last: URL

        init(_ host: Installation, _ direction: Direction, _ sent: URL) throws {
            self.direction = direction
            (arrived, errors) = (host.directory.appending(path: "arrived"), host.directory.appending(path: "errors"))
            last = host.directory.appending(path: "last")
            for file in [arrived, errors] { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
            let size = try FileManager.default.attributesOfItem(atPath: sent.path)[.size] as? Int ?? 0
            firstBytes = size / 20 * 19
            let first = "head -c \(firstBytes); until [ -e last ]; do sleep 0.02; done; cat"
            process.executableURL = host.programs.appending(path: "fastable")
            process.arguments =
                ["exec", "p"] + (direction == .plain ? ["--timeout", "900"] : ["-i"]) + [
                    "--",
                    direction == .input
                        ? "cat > got" : "until [ -e gate ]; do sleep 0.02; done; { \(first); } < sent",
                ]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
            ]) { $1 }
            process.standardInput = direction == .input ? try begin(first, sent) : FileHandle.nullDevice
            process.standardOutput = try FileHandle(forWritingTo: arrived)
            process.standardError = try FileHandle(forWritingTo: errors)
            try process.run()
        }

        /// The end of a pipe from which comes what a shell reads of a file.
        private func begin(_ script: String, _ sent: URL) throws -> Foundation.Pipe {
            let pipe = Foundation.Pipe()
            source.executableURL = URL(filePath: "/bin/sh")
            source.arguments = ["-c", script]
            source.currentDirectoryURL = sent.deletingLastPathComponent()
            source.standardInput = try FileHandle(forReadingFrom: sent)
            source.standardOutput = pipe
            try source.run()
            return pipe
        }

        /// Returns when so many bytes have been read from the one end, or have come out at the other.
        func hasCome(to count: Int) async throws {
            while process.isRunning, try position() < count { try await Task.sleep(for: .milliseconds(5)) }
        }

        /// Not all that may come has come.
        var isOnItsWay: Bool { get throws { try position() < firstBytes } }

        /// The shell and what it runs share one place in the file.
        private func position() throws -> Int {
            guard direction == .input else {
                return try FileManager.default.attributesOfItem(atPath: arrived.path)[.size] as? Int ?? 0
            }
            let facts = try? String(contentsOfFile: "/proc/\(source.processIdentifier)/fdinfo/0", encoding: .utf8)
            return facts?.firstMatch(of: /pos:\s+(\d+)/).flatMap { Int($0.1) } ?? 0
        }

        /// Once the node is ready.
        func letTheLastGo(_ host: Installation) async throws {
            guard direction == .input else {
                try await host.tool("fs.write", ["project": "p", "path": "last", "content": ""])
                return
            }
            _ = FileManager.default.createFile(atPath: last.path, contents: nil)
        }

        var complaints: String { (try? String(contentsOf: errors, encoding: .utf8)) ?? "" }

        /// Ends what was started, for tests that fail.
        func end() {
            for process in [process, source] where process.isRunning { kill(process.processIdentifier, SIGKILL) }
        }

        /// Waits for the end and compares what arrived.
        func check(_ all: Data, _ host: Installation, _ what: String) async throws {
            while process.isRunning { try await Task.sleep(for: .milliseconds(20)) }
            let said = complaints
            #expect(process.terminationStatus == 0, "\(what): \(said)")
            let difference = FaultTests.difference(all, try await result(host))
            #expect(difference == nil, "\(what): \(said)")
        }

        /// What came out at the other end.
        private func result(_ host: Installation) async throws -> Data {
            guard direction == .input else { return try Data(contentsOf: arrived) }
            return try await host.request(.GET, "/api/projects/p/fs/file?path=got").body
        }
    }
}
