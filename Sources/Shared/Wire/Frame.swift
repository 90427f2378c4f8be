public import NIOCore

/// What a frame means. An open set: the protocol between node and `fastable-init` has types of its own in the same header.
public struct FrameType: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Begins a stream; the payload says what it asks for (JSON).
    public static let open = FrameType(rawValue: 1)
    /// One control message (JSON).
    public static let message = FrameType(rawValue: 2)
    /// Raw bytes on a channel: 0 is input to the callee, 1 its primary output, 2 its error output.
    public static let data = FrameType(rawValue: 3)
    /// Credit: four bytes, how many more payload bytes may be sent on the stream.
    public static let window = FrameType(rawValue: 4)
    /// The sender sends no more on this stream.
    public static let end = FrameType(rawValue: 5)
    /// Ends both directions of a stream at once; the payload is the error (JSON).
    public static let reset = FrameType(rawValue: 6)
    /// Eight opaque bytes that come back in a `pong`.
    public static let ping = FrameType(rawValue: 7)
    public static let pong = FrameType(rawValue: 8)
    /// The sender closes the link; the payload is the reason (JSON).
    public static let goaway = FrameType(rawValue: 9)
}

/// One unit of the link: a header of 12 bytes and a payload.
public struct Frame: Sendable, Equatable {
    public var type: FrameType
    /// No flag is defined in version 1 of the link; the mux refuses frames that carry one.
    public var flags: UInt8
    /// For `data` only.
    public var channel: UInt8
    /// 0 for frames about the link itself: `ping`, `pong`, `goaway`.
    public var stream: UInt32
    public var payload: ByteBuffer

    public init(
        type: FrameType, flags: UInt8 = 0, channel: UInt8 = 0, stream: UInt32 = 0, payload: ByteBuffer = ByteBuffer()
    ) {
        self.type = type
        self.flags = flags
        self.channel = channel
        self.stream = stream
        self.payload = payload
    }
}

/// The fixed part in front of every payload, big endian: version, type, flags, channel (a byte each), stream and payload
/// length (four bytes each).
public struct FrameHeader: Sendable, Equatable {
    public static let version: UInt8 = 1
    public static let byteCount = 12

    public var type: FrameType
    public var flags: UInt8
    public var channel: UInt8
    public var stream: UInt32
    public var payloadBytes: UInt32

    public init(type: FrameType, flags: UInt8, channel: UInt8, stream: UInt32, payloadBytes: UInt32) {
        self.type = type
        self.flags = flags
        self.channel = channel
        self.stream = stream
        self.payloadBytes = payloadBytes
    }

    /// The header of a frame. Its payload must be shorter than 4 GiB, which `Limits.framePayloadBytes` sees to.
    public init(of frame: Frame) {
        self.init(
            type: frame.type, flags: frame.flags, channel: frame.channel, stream: frame.stream,
            payloadBytes: UInt32(clamping: frame.payload.readableBytes))
    }
}
