public import FastableCore
public import NIOCore

/// Frames to bytes and back. Every input may be hostile: what does not fit throws `invalid` or `too_large`.
public enum FrameCodec {
    /// Appends header and payload.
    public static func encode(_ frame: Frame, into buffer: inout ByteBuffer) {
        buffer.reserveCapacity(minimumWritableBytes: FrameHeader.byteCount + frame.payload.readableBytes)
        encode(FrameHeader(of: frame), into: &buffer)
        buffer.writeImmutableBuffer(frame.payload)
    }

    public static func encode(_ frame: Frame) -> ByteBuffer {
        var buffer = ByteBuffer()
        encode(frame, into: &buffer)
        return buffer
    }

    /// Appends the header only, for senders that write the payload on its own and so do not copy it.
    public static func encode(_ header: FrameHeader, into buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(
            FrameHeader.version, header.type.rawValue, header.flags, header.channel, header.stream, header.payloadBytes)
    }

    /// Reads one message that must be exactly one frame. The payload is a slice: nothing is copied.
    public static func decode(
        message: ByteBuffer, payloadLimit: Int = Limits.framePayloadBytes
    ) throws(FastableError) -> Frame {
        var rest = message
        guard let header = try readHeader(from: &rest, payloadLimit: payloadLimit) else {
            throw FastableError(
                .invalid, "The frame is shorter than its header.", context: "\(message.readableBytes) bytes")
        }
        guard rest.readableBytes == Int(header.payloadBytes) else {
            throw FastableError(
                .invalid, "The frame's length does not match its message.",
                context: "header says \(header.payloadBytes) bytes, message has \(rest.readableBytes)")
        }
        return Frame(header, payload: rest)
    }

    /// Reads one header, or gives `nil` and reads nothing while fewer than 12 bytes are there.
    public static func readHeader(
        from buffer: inout ByteBuffer, payloadLimit: Int = Limits.framePayloadBytes
    ) throws(FastableError) -> FrameHeader? {
        let fields = buffer.readMultipleIntegers(as: (UInt8, UInt8, UInt8, UInt8, UInt32, UInt32).self)
        guard let (version, type, flags, channel, stream, payloadBytes) = fields else { return nil }
        guard version == FrameHeader.version else {
            throw FastableError(
                .invalid, "The frame has an unknown version. Upgrade the older of the two programs.",
                context: "version \(version)")
        }
        guard Int(payloadBytes) <= payloadLimit else {
            throw FastableError(
                .tooLarge, "The frame's payload is larger than \(payloadLimit) bytes.",
                context: "\(payloadBytes) bytes", details: ["limit": .integer(Int64(payloadLimit))])
        }
        return FrameHeader(
            type: FrameType(rawValue: type), flags: flags, channel: channel, stream: stream, payloadBytes: payloadBytes)
    }
}

extension Frame {
    init(_ header: FrameHeader, payload: ByteBuffer) {
        self.init(
            type: header.type, flags: header.flags, channel: header.channel, stream: header.stream, payload: payload)
    }
}
