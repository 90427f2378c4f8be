import FastableCore
package import NIOCore
package import NIOWebSocket

/// Writes WebSocket headers. NIO's encoder is not used since it XORs every payload byte of a client, copying the payload.
package enum WebSocketFraming {
    /// Appends the header of an unfragmented frame whose payload follows.
    ///
    /// RFC 6455 wants frames of a client masked, so that a page in a browser cannot put chosen bytes in front of an
    /// intermediary that does not know WebSocket. Nobody can see into the link's TLS, so the key is zero: the masked payload
    /// is the payload, and neither end touches its bytes.
    package static func writeHeader(
        _ opcode: WebSocketOpcode, payloadBytes: Int, masked: Bool, into buffer: inout ByteBuffer
    ) {
        let finalFragment: UInt8 = 0x80
        let maskBit: UInt8 = masked ? 0x80 : 0
        buffer.writeInteger(finalFragment | UInt8(webSocketOpcode: opcode))
        switch payloadBytes {
        case ...125:
            buffer.writeInteger(maskBit | UInt8(truncatingIfNeeded: payloadBytes))
        case ...Int(UInt16.max):
            buffer.writeMultipleIntegers(maskBit | 126, UInt16(truncatingIfNeeded: payloadBytes))
        default:
            buffer.writeMultipleIntegers(maskBit | 127, UInt64(payloadBytes))
        }
        if masked { buffer.writeInteger(UInt32(0)) }
    }

    /// The payload as the peer meant it. A key of zero, which our dialer sends, costs nothing.
    package static func payload(of frame: WebSocketFrame) -> ByteBuffer {
        guard let key = frame.maskKey, key != [0, 0, 0, 0] else { return frame.data }
        return frame.unmaskedData
    }

    static func closeFrame(_ code: WebSocketErrorCode, masked: Bool) -> ByteBuffer {
        var buffer = ByteBuffer()
        writeHeader(.connectionClose, payloadBytes: 2, masked: masked, into: &buffer)
        buffer.write(webSocketErrorCode: code)
        return buffer
    }

    static func pongFrame(_ payload: ByteBuffer, masked: Bool) -> ByteBuffer {
        var buffer = ByteBuffer()
        writeHeader(.pong, payloadBytes: payload.readableBytes, masked: masked, into: &buffer)
        buffer.writeImmutableBuffer(payload)
        return buffer
    }
}
