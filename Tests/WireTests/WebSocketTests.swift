import FastableCore
import FastableWire
import NIOCore
import Synchronization
import TestSupport
import Testing

/// What the link makes of WebSocket frames that our own dialer and listener never send.
@Suite(.endsInTime) struct WebSocketTests {
    private static let protocolError: [UInt8] = [0x03, 0xea]
    private static let open = Frame(type: .open, stream: 1, payload: text("{}"))

    /// Each breaks the WebSocket in one way.
    static let violations: [(String, @Sendable (RawPeer) -> Void)] = [
        ("text", { $0.write(opcode: 1, Array("hello".utf8)) }),
        ("fragment", { $0.write(opcode: 2, FrameCodec.encode(open).bytes, isFinal: false) }),
        ("continuation", { $0.write(opcode: 0, FrameCodec.encode(open).bytes) }),
        ("unknown opcode", { $0.write(opcode: 5, []) }),
        ("unmasked", { $0.write(open, mask: nil) }),
        ("reserved bit", { $0.write(opcode: 2, FrameCodec.encode(open).bytes, reserved: 0x40) }),
        ("length does not match", { $0.write(opcode: 2, FrameCodec.encode(open).bytes + [0]) }),
        ("too short", { $0.write(opcode: 2, [1, 1, 0]) }),
        ("empty", { $0.write(opcode: 2, []) }),
        ("oversize", { $0.write([0x82, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]) }),
        ("negative length", { $0.write([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]) }),
        ("fragmented ping", { $0.write(opcode: 9, [], isFinal: false) }),
        ("unknown stream", { $0.write(Frame(type: .data, stream: 9, payload: text("x"))) }),
    ]

    @Test(arguments: violations.indices)
    func aViolationIsAnsweredWithGoawayAndClose(index: Int) async throws {
        let (name, act) = Self.violations[index]
        let raw = try await RawPeer.make(role: .listener)
        act(raw)
        let error = await expectFailure(.unavailable) { try await raw.connection.run(accept: { _ in }) }
        #expect(error?.context?.contains("violation") == true, "\(name): \(String(describing: error))")
        let (frames, others) = try raw.readToEnd()
        // On a busy machine the silence before it may be long enough for a ping.
        #expect(frames.map(\.type).filter { $0 != .ping } == [.goaway], "\(name)")
        #expect(others.map(\.opcode) == [8] && others.first?.payload == Self.protocolError, "\(name)")
    }

    @Test(arguments: seeds(20))
    func randomBytesNeverTrap(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let raw = try await RawPeer.make(role: random.chance(50) ? .listener : .dialer)
        raw.write(random.bytes(random.int(1...2000)).bytes)
        raw.connection.sever()
        await #expect(throws: FastableError.self) { try await raw.connection.run(accept: { _ in }) }
    }

    @Test func aPingIsAnsweredAndACloseToo() async throws {
        let raw = try await RawPeer.make(role: .listener)
        raw.write(opcode: 9, Array("are you there".utf8), mask: [1, 2, 3, 4])
        raw.write(opcode: 10, [])
        raw.write(Self.open, mask: [9, 8, 7, 6])
        raw.write(Frame(type: .message, stream: 1, payload: text("hello")), mask: [0xff, 0, 0xff, 1])
        raw.write(opcode: 8, [0x03, 0xe8])
        await expectFailure(.unavailable) {
            try await raw.connection.run { stream in
                // A mask that is not zero is taken off.
                #expect(stream.opening == text("{}"))
            }
        }
        let (_, others) = try raw.readToEnd()
        #expect(others.map(\.opcode) == [10, 8])
        #expect(others.first?.payload == Array("are you there".utf8))
        #expect(others.last?.payload == [0x03, 0xe8])
    }

    @Test func aPeerThatDoesNotReadStopsTheSenderNotTheMemory() async throws {
        var settings = MuxSettings()
        settings.windowBytes = 1 << 30
        // The peer answers no pings.
        settings.silence = .seconds(3600)
        let raw = try await RawPeer.make(role: .dialer, settings: settings)
        let connection = raw.connection
        let running = Task { try? await connection.run(accept: { _ in }) }
        let stream = try await connection.open(text("{}"))
        let sent = Mutex(0)
        let sending = Task {
            while sent.withLock({ $0 }) < 256 << 20 {
                do { try await stream.send(data: pattern(65_536), channel: 0) } catch { break }
                sent.withLock { $0 += 65_536 }
            }
        }
        try await eventually("it stands still") {
            let before = sent.withLock { $0 }
            try await Task.sleep(for: .milliseconds(500))
            return before >= Limits.linkSendBufferBytes && before == sent.withLock { $0 }
        }
        sending.cancel()
        await sending.value
        // The link's own buffer, the channel's high mark, and what the kernel holds of a socket pair.
        #expect(sent.withLock { $0 } < 8 << 20)
        connection.close(reason: "over")
        await running.value
    }
}
