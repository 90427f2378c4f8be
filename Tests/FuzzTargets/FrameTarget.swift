import FastableCore
import FastableWire
import NIOCore

/// Frames from bytes: what is accepted is exactly what was there, however the bytes were cut on their way.
enum FrameTarget {
    private struct Decoded: Equatable {
        var frames: [Frame] = []
        var error: FastableError.Code?
        var endsWithinAFrame = false
    }

    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        let limit = script.flag() ? 64 : Limits.framePayloadBytes
        let cut = script.number(below: 40) + 1
        let wire = script.rest()
        if let frame = try? FrameCodec.decode(message: ByteBuffer(bytes: wire), payloadLimit: limit) {
            try require(Array(FrameCodec.encode(frame).readableBytesView) == wire, "a message that was changed")
            try require(frame.payload.readableBytes <= limit, "a payload above the limit")
        }
        let whole = try decode(wire, limit, cut: max(1, wire.count))
        try require(try decode(wire, limit, cut: cut) == whole, "the cuts of the bytes change the frames")
        var encoded = ByteBuffer()
        for frame in whole.frames { FrameCodec.encode(frame, into: &encoded) }
        try require(wire.starts(with: encoded.readableBytesView), "frames that were not there")
        guard whole.error == nil else { return }
        try require(whole.endsWithinAFrame == (encoded.readableBytes < wire.count), "a wrong end")
        let missing = wire.count - encoded.readableBytes
        try require(missing < FrameHeader.byteCount + limit, "a frame that is there and not told")
    }

    private static func decode(_ wire: [UInt8], _ limit: Int, cut: Int) throws -> Decoded {
        var decoder = FrameStreamDecoder(payloadLimit: limit)
        var decoded = Decoded()
        do throws(FastableError) {
            for start in stride(from: 0, to: wire.count, by: cut) {
                decoder.append(ByteBuffer(bytes: wire[start..<min(start + cut, wire.count)]))
                while let frame = try decoder.next() { decoded.frames.append(frame) }
            }
        } catch {
            decoded.error = error.code
            let again = Result { () throws(FastableError) in try decoder.next() }
            guard case .failure(let second) = again, second.code == error.code else {
                throw FuzzFinding(description: "a broken stream that goes on")
            }
        }
        do throws(FastableError) { try decoder.finish() } catch { decoded.endsWithinAFrame = true }
        return decoded
    }

    static var seeds: [[UInt8]] {
        let frames = [
            Frame(type: .open, stream: 1, payload: ByteBuffer(string: "{}")),
            Frame(type: .data, channel: 2, stream: 1, payload: ByteBuffer(string: "hello")),
            Frame(type: .window, stream: 1, payload: ByteBuffer(integer: UInt32(4096))), Frame(type: .end, stream: 1),
        ]
        let all = frames.map { Array(FrameCodec.encode($0).readableBytesView) }
        return all.map { [0, 7] + $0 } + [[0, 5] + all.flatMap { $0 }, [1, 12] + all.flatMap { $0 }]
    }
}
