import FastableCore
import FastableWire
import NIOCore
import TestSupport
import Testing

@Suite struct FrameCodecTests {
    @Test func headerIsBigEndianAndTwelveBytes() {
        let frame = Frame(type: .data, flags: 0x80, channel: 2, stream: 0x0102_0304, payload: text("hi"))
        #expect(FrameCodec.encode(frame).bytes == [1, 3, 0x80, 2, 1, 2, 3, 4, 0, 0, 0, 2] + Array("hi".utf8))
        #expect(FrameHeader.byteCount == 12)
    }

    @Test(arguments: seeds(20))
    func everyFrameComesBack(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            await Task.yield()
            let frame = randomFrame(&random)
            #expect(try FrameCodec.decode(message: FrameCodec.encode(frame)) == frame)
        }
    }

    @Test(arguments: seeds(20))
    func aStreamCutAnywhereGivesTheSameFrames(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let frames = (0..<random.int(1...40)).map { _ in randomFrame(&random) }
        var wire = ByteBuffer()
        for frame in frames { FrameCodec.encode(frame, into: &wire) }

        var decoder = FrameStreamDecoder()
        var decoded: [Frame] = []
        while wire.readableBytes > 0 {
            await Task.yield()
            let cut = min(wire.readableBytes, random.chance(50) ? random.int(1...20) : random.int(1...3000))
            decoder.append(wire.readSlice(length: cut) ?? ByteBuffer())
            while let frame = try decoder.next() { decoded.append(frame) }
        }
        #expect(decoded == frames)
        try decoder.finish()
    }

    @Test(arguments: seeds(50))
    func hostileBytesGiveErrorsAndNeverTrap(seed: UInt64) async {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            await Task.yield()
            var bytes = FrameCodec.encode(randomFrame(&random)).bytes
            switch random.int(0...3) {
            case 0: bytes = random.bytes(random.int(0...64)).bytes
            case 1: bytes.removeLast(random.int(1...bytes.count))
            case 2: bytes[random.int(0...min(bytes.count, 12) - 1)] ^= UInt8(1 << random.int(0...7))
            default: bytes += random.bytes(random.int(1...20)).bytes
            }
            if let frame = try? FrameCodec.decode(message: ByteBuffer(bytes: bytes)) {
                // What is accepted is exactly what was there.
                #expect(FrameCodec.encode(frame).bytes == bytes)
            }
            var decoder = FrameStreamDecoder()
            decoder.append(ByteBuffer(bytes: bytes))
            var encoded = 0
            while let frame = try? decoder.next() { encoded += FrameCodec.encode(frame).readableBytes }
            #expect(encoded <= bytes.count)
        }
    }

    @Test func lengthMustMatchTheMessage() {
        var message = FrameCodec.encode(Frame(type: .message, stream: 1, payload: text("hello")))
        message.writeInteger(UInt8(0))
        expectFailure(.invalid) { _ = try FrameCodec.decode(message: message) }
        expectFailure(.invalid) {
            _ = try FrameCodec.decode(message: ByteBuffer(bytes: message.bytes.dropLast(2)))
        }
        expectFailure(.invalid) { _ = try FrameCodec.decode(message: ByteBuffer(bytes: [1, 2, 3])) }
        expectFailure(.invalid) { _ = try FrameCodec.decode(message: ByteBuffer()) }
    }

    @Test func oversizeIsRefusedByItsHeaderAlone() {
        let header = FrameHeader(
            type: .data, flags: 0, channel: 0, stream: 1, payloadBytes: UInt32(Limits.framePayloadBytes + 1))
        var wire = ByteBuffer()
        FrameCodec.encode(header, into: &wire)
        expectFailure(.tooLarge) { _ = try FrameCodec.decode(message: wire) }
        var decoder = FrameStreamDecoder()
        decoder.append(wire)
        expectFailure(.tooLarge) { _ = try decoder.next() }
        decoder.append(FrameCodec.encode(Frame(type: .end, stream: 1)))
        expectFailure(.tooLarge) { _ = try decoder.next() }
        expectFailure(.tooLarge) { try decoder.finish() }
    }

    @Test func anotherVersionIsRefused() {
        var bytes = FrameCodec.encode(Frame(type: .end, stream: 1)).bytes
        bytes[0] = 2
        expectFailure(.invalid) { _ = try FrameCodec.decode(message: ByteBuffer(bytes: bytes)) }
    }

    @Test func aStreamThatEndsWithinAFrameIsToldSo() throws {
        let wire = FrameCodec.encode(Frame(type: .data, stream: 1, payload: text("hello"))).bytes
        for count in 1..<wire.count {
            var decoder = FrameStreamDecoder()
            decoder.append(ByteBuffer(bytes: wire[..<count]))
            #expect(try decoder.next() == nil)
            expectFailure(.invalid) { try decoder.finish() }
        }
    }

    private func randomFrame(_ random: inout SeededGenerator) -> Frame {
        Frame(
            type: FrameType(rawValue: UInt8(random.int(0...255))), flags: UInt8(random.int(0...255)),
            channel: UInt8(random.int(0...255)), stream: UInt32.random(in: .min ... .max, using: &random),
            payload: random.bytes(random.chance(20) ? 0 : random.int(0...1500)))
    }
}
