import CLinux
import FastableCore
import FastableWire
import Foundation
import Glibc
import NIOCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Process 1 stands whatever is done to it.
@Suite("Init stands", .enabled(if: InitProcess.available, "needs root and unshare"))
struct InitHardeningTests {
    @Test func constantsAgree() {
        #expect(Int(FASTABLE_INIT_RING_BYTES) == Limits.initRingBytes)
        #expect(Int(FASTABLE_INIT_PAYLOAD_BYTES) == Limits.framePayloadBytes)
        #expect(Int(FASTABLE_INIT_EXECS) == 2 * Limits.execsPerContainer)
        #expect(Int(FASTABLE_INIT_ARGUMENTS) == Limits.execArguments)
        #expect(Int(FASTABLE_INIT_GROUPS) == Limits.execGroups)
        #expect(Int(FASTABLE_INIT_PROCESSES) == Limits.containerPIDsHighest)
        #expect(Int(FASTABLE_INIT_GRACE_MILLISECONDS) == 1000 * Limits.execCancelGraceSeconds)
        #expect(Int(FASTABLE_INIT_ENVIRONMENT) >= 2 * Limits.execEnvironmentEntries)
        #expect(Int(FASTABLE_INIT_HEADER_BYTES) == FrameHeader.byteCount)
        #expect(FASTABLE_FRAME_VERSION == FrameHeader.version)
        let types: [(UInt8, FrameType)] = [
            (FASTABLE_FRAME_OPEN, .open), (FASTABLE_FRAME_MESSAGE, .message), (FASTABLE_FRAME_DATA, .data),
            (FASTABLE_FRAME_WINDOW, .window), (FASTABLE_FRAME_END, .end), (FASTABLE_FRAME_PING, .ping),
            (FASTABLE_FRAME_PONG, .pong),
        ]
        for (number, type) in types { #expect(number == type.rawValue) }
        #expect(ExecID().description.utf8.count <= Int(FASTABLE_INIT_TOKEN_BYTES))
    }

    /// Random bytes, and well-formed frames with random contents, on many connections.
    @Test func hostileFrames() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        try await InitProcess.with { process in
            for _ in 0..<300 {
                let connection = try HostileConnection(process, greets: random.next() % 4 != 0)
                for _ in 0..<Int(random.next() % 20) { connection.send(Self.frame(using: &random)) }
                if random.next() % 2 == 0 {
                    connection.send((0..<200).map { _ in UInt8(truncatingIfNeeded: random.next()) })
                }
            }
            let table = try await process.table()
            #expect(try await table.run("echo stands").text == "stands\n", "seed \(seed)")
            await table.close()
        }
    }

    private static func frame(using random: inout SeededGenerator) -> [UInt8] {
        var payload = (0..<Int(random.next() % 120)).map { _ in UInt8(truncatingIfNeeded: random.next() % 12) }
        if random.next() % 3 == 0 { payload = spawn(using: &random) }
        let length = random.next() % 10 == 0 ? UInt32(truncatingIfNeeded: random.next()) : UInt32(payload.count)
        let head: [UInt8] = [1, UInt8(random.next() % 10), UInt8(random.next() % 2), UInt8(random.next() % 4)]
        let stream = UInt32(random.next() % 8)
        return head + withUnsafeBytes(of: stream.bigEndian) { Array($0) }
            + withUnsafeBytes(of: length.bigEndian) { Array($0) } + payload
    }

    /// A request that is almost right.
    private static func spawn(using random: inout SeededGenerator) -> [UInt8] {
        func integer(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
        func string(_ text: String) -> [UInt8] { integer(UInt32(text.utf8.count)) + Array(text.utf8) }
        var bytes = integer(0) + integer(0) + integer(0) + integer(50) + string("token") + string("/") + integer(1)
        bytes += string("true") + integer(0)
        for _ in 0..<Int(random.next() % 3) {
            bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
        }
        return random.next() % 4 == 0 ? bytes.dropLast(Int(random.next() % 8)) : bytes
    }

    /// Frames that arrive byte by byte, and many at once, are the same frames.
    @Test func framesInPieces() async throws {
        try await InitProcess.with { process in
            let table = try await process.table()
            table.abandon()
            let connection = try HostileConnection(process, greets: true)
            let ping: [UInt8] = [1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8] + [1, 2, 3, 4, 5, 6, 7, 8]
            for byte in ping { connection.send([byte]) }
            connection.send(Array((0..<500).map { _ in ping }.joined()))
            let expected = 25 + 501 * 20
            let bytes = try await connection.receive(expected)
            #expect(bytes.count == expected && bytes.suffix(8) == [1, 2, 3, 4, 5, 6, 7, 8])
        }
    }

    /// A node that sends and never reads must not stop init; the next connection finds it well.
    @Test func aDeafNode() async throws {
        try await InitProcess.with { process in
            let deaf = try HostileConnection(process, greets: true)
            let ping: [UInt8] = [1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8] + [UInt8](repeating: 0, count: 8)
            let many = Array((0..<1000).map { _ in ping }.joined())
            for _ in 0..<100 { deaf.send(many) }
            try await eventually("it has answered what it could, and does not spin") {
                let before = try process.processorTicks()
                try await Task.sleep(for: .milliseconds(300))
                return try process.processorTicks() - before <= 1
            }
            let table = try await process.table()
            #expect(try await table.run("echo well").text == "well\n")
            await table.close()
        }
    }

    @Test func nobodyInsideMayLookIntoIt() async throws {
        try await InitProcess.withTable { table, _ in
            // As the user that init is, without the right to trace: what root in a container is.
            let root =
                "setpriv --bounding-set=-sys_ptrace,-sys_admin,-perfmon --inh-caps=-sys_ptrace,-sys_admin,-perfmon --"
            for user in [root, "setpriv --reuid=1000 --clear-groups --"] {
                let done = try await table.run(
                    "\(user) sh -c 'cat /proc/1/environ; ls -l /proc/1/fd/3 >/dev/null; head -c 1 /proc/1/mem; cat /proc/1/maps; true'"
                )
                #expect(done.text == "", "\(user)")
                let lines = done.errorText.split(separator: "\n")
                #expect(lines.count == 4 && lines.allSatisfy { $0.contains("ermission denied") }, "\(done.errorText)")
            }
        }
    }

    @Test func itIsSmall() async throws {
        try await InitProcess.withTable { table, process in
            for index in 0..<50 { _ = try await table.run("echo \(index)") }
            _ = try await table.run("head -c 4M /dev/zero")
            let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
            let anonymous = status.split(separator: "\n").first { $0.hasPrefix("RssAnon") }
            let kilobytes = try #require(anonymous?.split(separator: " ").dropFirst().first.flatMap { Int($0) })
            #expect(kilobytes < 512, "\(status)")
        }
    }

    @Test func filesAreForRootOnlyAndFew() async throws {
        try await InitProcess.withTable { table, process in
            let silent = try await table.shell("true")
            let loud = try await table.shell("echo x")
            _ = try await silent.finish()
            _ = try await loud.finish()
            try await eventually("both are recorded") {
                process.isRecorded(silent.exec) && process.isRecorded(loud.exec)
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: process.execs).sorted()
            #expect(names == ["ended", "\(loud.exec)"])
            for path in ["", "/\(loud.exec)", "/\(loud.exec)/stdout", "/ended", "/ended/1", "/ended/1.index"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: process.execs + path)
                let mode = try #require(attributes[.posixPermissions] as? Int)
                #expect(mode & 0o077 == 0, "\(path)")
            }
        }
    }
}
