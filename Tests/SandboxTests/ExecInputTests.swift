import FastableCore
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// A command's input on its way from a writer that loses its connections, through daemons that die, to an init that loses its own.
@Suite("Input of an exec")
struct ExecInputTests {
    /// As `fastable exec -i`: sends again from the last byte that the command was given.
    private struct Writer {
        let bytes: ByteBuffer
        var told: UInt64 = 0
        var sent: UInt64 = 0
        var endSent = false
        var size: UInt64 { UInt64(bytes.readableBytes) }

        mutating func connect() -> Connection {
            sent = told
            endSent = false
            return Connection(next: told)
        }

        mutating func next(_ count: Int) -> Connection.Item? {
            guard sent < size else {
                defer { endSent = true }
                return endSent ? nil : .end(at: size)
            }
            let part = bytes.getSlice(at: Int(sent), length: min(count, Int(size - sent))) ?? ByteBuffer()
            sent += UInt64(part.readableBytes)
            return .bytes(part)
        }
    }

    /// What is between a writer and the node. One that the writer has lost may still be read at the node.
    private struct Connection {
        enum Item {
            case bytes(ByteBuffer)
            case end(at: UInt64)
        }

        var items: [Item] = []
        /// As the node counts it.
        var next: UInt64
    }

    /// As `InputStream` in init, which outlives everything.
    private struct Init {
        enum Request {
            case bytes(ExecInput.Piece)
            case end(at: UInt64)
        }

        var taken = ByteBuffer()
        var passed: UInt64 = 0
        var end: UInt64?
        var inbox: [Request] = []
        var arrived: UInt64 { UInt64(taken.readableBytes) }
        var hasEnded: Bool { end.map { passed >= $0 } ?? false }

        /// `false` when the node broke the protocol.
        mutating func take(_ request: Request) -> Bool {
            switch request {
            case .bytes(var piece):
                guard piece.offset <= arrived else { return false }
                let known = min(Int(arrived - piece.offset), piece.bytes.readableBytes)
                piece.bytes.moveReaderIndex(forwardBy: known)
                taken.writeBuffer(&piece.bytes)
                return arrived - passed <= UInt64(Limits.initRingBytes)
            case .end(let offset):
                guard offset <= arrived else { return false }
                end = offset
                return true
            }
        }
    }

    private struct World {
        var random: SeededGenerator
        var writer: Writer
        var input = ExecInput(isOpen: true)
        var initial = Init()
        var isLinked = true
        var connections: [Connection]
        var broken = 0

        init(seed: UInt64) {
            random = SeededGenerator(seed: seed)
            let count = random.int(0...1_000_000)
            var bytes = ByteBuffer()
            for number in 0..<UInt64(count / 8) { bytes.writeInteger(number) }
            writer = Writer(bytes: bytes)
            connections = [writer.connect()]
        }

        mutating func step() throws {
            switch random.int(0...39) {
            case 0...9:
                if let item = writer.next(random.int(1...40_000)) {
                    connections[connections.count - 1].items.append(item)
                }
            case 10...22: try deliver(random.int(0...connections.count - 1))
            case 23...29: handle()
            case 30...35: pass(random.int(1...200_000))
            case 36: reconnectWriter()
            case 37: restartDaemon()
            default: if isLinked { loseInit() } else { reconnectInit() }
            }
        }

        /// The node reads one event of a connection.
        private mutating func deliver(_ index: Int) throws {
            guard let item = connections[index].items.first else { return }
            switch item {
            case .bytes(let bytes):
                // Once the end has come on another connection, this one has nothing new.
                let acceptance = try input.accept(bytes, at: connections[index].next)
                var left = 0
                if case .full(let rest) = acceptance { left = rest.readableBytes }
                connections[index].next += UInt64(bytes.readableBytes - left)
                if case .full(let rest) = acceptance {
                    connections[index].items[0] = .bytes(rest)
                } else {
                    connections[index].items.removeFirst()
                }
            case .end(let offset):
                #expect(offset == connections[index].next, "seed \(random.seed)")
                try input.finish(at: offset)
                connections[index].items.removeFirst()
            }
            send()
        }

        private mutating func send() {
            guard isLinked else { return }
            let (pieces, end) = input.takeUnsent()
            initial.inbox += pieces.map { .bytes($0) }
            if let end { initial.inbox.append(.end(at: end)) }
        }

        private mutating func handle() {
            guard isLinked, !initial.inbox.isEmpty else { return }
            if !initial.take(initial.inbox.removeFirst()) {
                broken += 1
                loseInit()
            }
        }

        private mutating func pass(_ count: Int) {
            initial.passed = min(initial.arrived, initial.passed + UInt64(count))
            guard isLinked else { return }
            _ = input.passedOn(upTo: initial.passed)
            if random.chance(50) { writer.told = max(writer.told, min(input.passed, writer.sent)) }
        }

        private mutating func loseInit() {
            isLinked = false
            initial.inbox = []
        }

        /// Writers may come between the greeting and the first use of the new connection.
        private mutating func reconnectInit() {
            input.reconnected(arrived: initial.arrived, passed: initial.passed)
            if random.chance(50) { try? deliver(connections.count - 1) }
            isLinked = true
            send()
        }

        private mutating func reconnectWriter() {
            if random.chance(50), let item = connections[connections.count - 1].items.last {
                // What it sent last did not get through.
                connections[connections.count - 1].items.removeLast()
                if case .bytes = item, random.chance(50) { connections[connections.count - 1].items = [] }
            }
            connections.append(writer.connect())
            if connections.count > 3 { connections.removeFirst() }
        }

        private mutating func restartDaemon() {
            initial.inbox = []
            input = ExecInput(isOpen: !initial.hasEnded, arrived: initial.arrived, passed: initial.passed)
            isLinked = true
            connections = [writer.connect()]
        }
    }

    @Test(arguments: 0..<24) func itArrivesWholeAndEndsWhereItEnds(round: Int) throws {
        let seed = UInt64.random(in: .min ... .max)
        var world = World(seed: seed)
        for _ in 0..<40_000 where !world.initial.hasEnded { try world.step() }
        #expect(world.initial.hasEnded, "seed \(seed): it never ended")
        #expect(
            world.initial.taken == world.writer.bytes, "seed \(seed): \(world.initial.arrived) of \(world.writer.size)")
        #expect(world.broken == 0, "seed \(seed): init was sent what it had to refuse")
    }

    @Test func anEndBeforeItsBytesIsRefused() throws {
        var input = ExecInput(isOpen: true)
        _ = try input.accept(ByteBuffer(string: "abc"), at: 0)
        let error = #expect(throws: FastableError.self) { try input.finish(at: 4) }
        #expect(error?.code == .conflict && error?.details["inputOffset"] == 3 && input.isOpen)
        try input.finish(at: 3)
        #expect(input.end == 3 && !input.isOpen)
        try input.finish(at: 7)
        #expect(input.end == 3, "the first end counts")
    }

    @Test func whatCameWithoutAConnectionIsSentOnTheNextOne() throws {
        var input = ExecInput(isOpen: true)
        _ = try input.accept(ByteBuffer(string: "abc"), at: 0)
        #expect(input.takeUnsent().0.map(\.offset) == [0])
        // Lost; two bytes had arrived, and one more comes while the new one is not in use.
        input.reconnected(arrived: 2, passed: 1)
        _ = try input.accept(ByteBuffer(string: "d"), at: 3)
        try input.finish(at: nil)
        let (pieces, end) = input.takeUnsent()
        #expect(pieces.map { String(buffer: $0.bytes) } == ["c", "d"] && pieces.map(\.offset) == [2, 3] && end == 4)
        #expect(input.takeUnsent().0.isEmpty && input.takeUnsent().end == nil)
        input.reconnected(arrived: 4, passed: 4)
        #expect(input.takeUnsent().end == 4, "init may not have got the end")
    }
}
