import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore

/// The events of a running operation as frames of the link: a `message` frame with `{"started":{"execId":…}}`, output as `data`
/// frames on channel 1 and 2, byte for byte (where bytes are no longer kept, a `message` with `{"gap":{…}}` in their place), and at last one `message` frame with `{"result":…}` or `{"error":…}`.
struct ToolFrameWriter {
    static let mediaType = "application/vnd.fastable.frames"
    /// There is one stream where there is no link.
    static let stream: UInt32 = 1
    /// Payloads up to this size are copied behind their header; larger ones go to the socket as they are.
    private static let copiedBytes = 16 * 1024

    private(set) var parts: [ByteBuffer] = []
    private var open = ByteBuffer()

    /// What was written since the last call, in few pieces.
    mutating func takeParts() -> [ByteBuffer] {
        if open.readableBytes > 0 { parts.append(open) }
        open = ByteBuffer()
        defer { parts = [] }
        return parts
    }

    mutating func write(_ item: OperationRun.Item) {
        switch item {
        case .event(.output(let channel, var bytes)):
            while let payload = bytes.readSlice(length: min(bytes.readableBytes, Limits.framePayloadBytes)),
                payload.readableBytes > 0
            {
                write(Frame(type: .data, channel: channel, stream: Self.stream, payload: payload))
            }
        case .event(.execStarted(let exec)):
            let started = ByteBuffer(string: "{\"started\":{\"execId\":\"\(exec)\"}}")
            write(Frame(type: .message, stream: Self.stream, payload: started))
        case .event(.missing(let channel, let from, let to)):
            let gap: JSONValue = ["gap": ExecJSON.gap(channel: channel, from: from, to: to)]
            let payload = ByteBuffer(bytes: (try? JSON.encode(gap)) ?? Data())
            write(Frame(type: .message, stream: Self.stream, payload: payload))
        case .event(.progress), .event(.found): break
        case .outcome(let outcome):
            write(Frame(type: .message, stream: Self.stream, payload: Self.message(outcome)))
        }
    }

    private mutating func write(_ frame: Frame) {
        FrameCodec.encode(FrameHeader(of: frame), into: &open)
        if frame.payload.readableBytes <= Self.copiedBytes {
            open.writeImmutableBuffer(frame.payload)
        } else {
            parts.append(open)
            parts.append(frame.payload)
            open = ByteBuffer()
        }
    }

    private static func message(_ outcome: Result<Data, FastableError>) -> ByteBuffer {
        switch outcome {
        case .success(let output) where output.count + 16 > Limits.framePayloadBytes:
            let limit = Limits.framePayloadBytes
            return message(
                .failure(
                    FastableError(
                        .tooLarge, "The result is larger than one frame of \(limit) bytes. Ask for it as JSON.",
                        details: ["limit": .integer(Int64(limit))])))
        case .success(let output):
            var buffer = ByteBuffer(string: "{\"result\":")
            buffer.writeBytes(output)
            buffer.writeStaticString("}")
            return buffer
        case .failure(let error):
            var buffer = ByteBuffer(string: "{\"error\":")
            buffer.writeBytes((try? JSON.encode(error)) ?? Data("null".utf8))
            buffer.writeStaticString("}")
            return buffer
        }
    }
}
