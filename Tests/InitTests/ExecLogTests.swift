import FastableCore
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// The bookkeeping of one output stream, driven at random: a reader gets each byte once, in order, whatever happens.
@Suite("Exec log")
struct ExecLogTests {
    @Test(arguments: 0..<40)
    func readersGetEveryByte(round: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        var log = ExecLog(capacity: 1000)
        var file = [UInt8](repeating: 0, count: 1000)
        var sent: UInt64 = 0
        var acknowledged: UInt64 = 0
        var cursors: [UInt64] = [0, 0]
        func byte(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: offset &* 7 &+ offset >> 8) }
        for _ in 0..<2000 {
            switch random.next() % 10 {
            case 0..<4:
                // Init sends on, or again from what it knows to be stored; it never has more than 500 bytes in its ring.
                if random.next() % 8 == 0 { sent = acknowledged }
                let end = min(sent + random.next() % 120, acknowledged + 500)
                let bytes = ByteBuffer(bytes: (sent..<max(sent, end)).map(byte))
                try log.receive(bytes, at: sent)
                sent = max(sent, end)
            case 4..<6:
                for chunk in log.admit(needed: cursors.min()) {
                    for (index, value) in chunk.bytes.readableBytesView.enumerated() {
                        file[Int(chunk.offset + UInt64(index)) % 1000] = value
                    }
                }
                log.wrote(keepRecent: Int(random.next() % 300))
                if let offset = log.acknowledgement(step: 50) { acknowledged = offset }
            default:
                let reader = Int(random.next() % 2)
                switch log.place(of: cursors[reader], upTo: .max, count: 70) {
                case .nothing: break
                case .memory(let bytes):
                    let expected = (0..<UInt64(bytes.readableBytes)).map { byte(cursors[reader] + $0) }
                    #expect(Array(bytes.readableBytesView) == expected, "seed \(seed)")
                    cursors[reader] += UInt64(bytes.readableBytes)
                case .file(let offset, let count):
                    #expect(offset == cursors[reader] && count > 0 && count <= 70, "seed \(seed)")
                    for position in offset..<offset + UInt64(count) {
                        #expect(file[Int(position % 1000)] == byte(position), "seed \(seed)")
                    }
                    cursors[reader] += UInt64(count)
                case .dropped: Issue.record("a live reader lost bytes, seed \(seed)")
                }
            }
            #expect(log.floor <= log.written && log.written <= log.head && log.head <= log.received, "seed \(seed)")
            #expect(log.head - log.floor <= 1000 && acknowledged <= log.written, "seed \(seed)")
        }
        #expect(cursors.allSatisfy { $0 > 1000 }, "the test must get somewhere, seed \(seed)")
    }

    @Test func missingBytesAreAProtocolError() throws {
        var log = ExecLog(capacity: 100)
        try log.receive(ByteBuffer(string: "abc"), at: 0)
        #expect(throws: FastableError.self) { try log.receive(ByteBuffer(string: "x"), at: 4) }
        log.end()
        try log.receive(ByteBuffer(string: "bc"), at: 1)
        #expect(throws: FastableError.self) { try log.receive(ByteBuffer(string: "x"), at: 3) }
    }

    /// Init keeps what is not acknowledged, and can keep no more than its ring. More than that is not from it.
    @Test(arguments: [false, true]) func moreThanInitCanKeepIsAProtocolError(isMasked: Bool) throws {
        let patterns = SecretPatterns([Array("xxyz".utf8)])
        var log = ExecLog(redactor: isMasked ? SecretRedactor(patterns) : nil)
        let ring = UInt64(Limits.initRingBytes)
        func bytes(_ count: UInt64) -> ByteBuffer { ByteBuffer(repeating: UInt8(ascii: "x"), count: Int(count)) }
        try log.receive(bytes(ring), at: 0)
        #expect(throws: FastableError.self) { try log.receive(bytes(1), at: ring) }
        // Written, and still acknowledged to nobody.
        _ = log.admit(needed: nil)
        log.wrote(keepRecent: 0)
        #expect(throws: FastableError.self) { try log.receive(bytes(1), at: ring) }
        let acknowledged = log.acknowledgement(step: 1)
        let stored = try #require(acknowledged)
        #expect(isMasked ? (1..<ring).contains(stored) : stored == ring)
        try log.receive(bytes(stored), at: ring)
        #expect(throws: FastableError.self) { try log.receive(bytes(1), at: ring + stored) }
        // The acknowledgement was lost with the connection: what init has comes again, and it has no more than before.
        log.reconnected(stored: 0)
        try log.receive(bytes(ring), at: 0)
        #expect(throws: FastableError.self) { try log.receive(bytes(1), at: ring + stored) }
        log.reconnected(stored: stored)
        try log.receive(bytes(ring), at: stored)
        #expect(log.taken == ring + stored)
    }

    @Test func withoutAReaderTheOldestGo() throws {
        var log = ExecLog(capacity: 10)
        try log.receive(ByteBuffer(string: "0123456789abcdef"), at: 0)
        _ = log.admit(needed: nil)
        log.wrote(keepRecent: 0)
        #expect(log.floor == 6 && log.head == 16)
        #expect(log.place(of: 0, upTo: .max, count: 100) == .dropped(upTo: 6))
        #expect(log.place(of: 6, upTo: .max, count: 100) == .file(offset: 6, count: 10))
        #expect(log.place(of: 6, upTo: 9, count: 100) == .file(offset: 6, count: 3))
    }

    @Test func aFullDiskHoldsUpWhatSomebodyNeeds() throws {
        var log = ExecLog(capacity: 100)
        try log.receive(ByteBuffer(string: "abc"), at: 0)
        #expect(log.admit(needed: 0).count == 1)
        #expect(log.writingFailed(isNeeded: true, keepRecent: 10) == nil)
        #expect(log.place(of: 0, upTo: .max, count: 10) == .memory(ByteBuffer(string: "abc")))
        try log.receive(ByteBuffer(repeating: 1, count: 50), at: 3)
        #expect(log.admit(needed: 3).map(\.offset) == [0], "the same once more, and nothing else")
        #expect(log.head == 3 && log.written == 0 && log.isHoldingBack)
        #expect(log.acknowledgement(step: 1) == nil, "init keeps it for the next daemon")
        log.wrote(keepRecent: 0)
        #expect(log.acknowledgement(step: 1) == 3)
        #expect(log.admit(needed: 3).map(\.offset) == [3])
    }

    @Test func aFullDiskLosesWhatNobodyNeeds() throws {
        var log = ExecLog(capacity: 100)
        try log.receive(ByteBuffer(string: "abc"), at: 0)
        _ = log.admit(needed: nil)
        log.wrote(keepRecent: 0)
        try log.receive(ByteBuffer(repeating: 1, count: 50), at: 3)
        _ = log.admit(needed: nil)
        #expect(log.writingFailed(isNeeded: false, keepRecent: 10) == 53, "the file begins anew")
        #expect(log.place(of: 0, upTo: .max, count: 10) == .dropped(upTo: 3), "what is in memory can be read")
        #expect(log.acknowledgement(step: 1) == 53, "the command goes on")
        try log.receive(ByteBuffer(repeating: 2, count: 20), at: 53)
        _ = log.admit(needed: nil)
        log.wrote(keepRecent: 0)
        #expect(log.place(of: 3, upTo: .max, count: 10) == .dropped(upTo: 53))
        #expect(log.place(of: 53, upTo: .max, count: 100) == .file(offset: 53, count: 20))
        // What the next daemon knows: how much was stored, and where the file begins.
        let next = ExecLog(capacity: 100, stored: 73, fileStart: 53)
        #expect(next.place(of: 0, upTo: .max, count: 10) == .dropped(upTo: 53))
    }
}
