import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore

/// What an attachment tells its client: each value is one message, which is one frame of the link.
enum AttachMessage {
    static func started(_ attachment: ExecAttachment) -> ByteBuffer {
        message([
            "started": [
                "execId": .string(attachment.exec.description), "stdoutOffset": .offset(attachment.offsets.stdout),
                "stderrOffset": .offset(attachment.offsets.stderr), "stdinOffset": .offset(attachment.offsets.input),
            ]
        ])
    }

    static func data(channel: UInt8, _ bytes: ByteBuffer) -> [ByteBuffer] {
        var rest = bytes
        var messages: [ByteBuffer] = []
        while let payload = rest.readSlice(length: min(rest.readableBytes, Limits.framePayloadBytes)),
            payload.readableBytes > 0
        {
            let frame = Frame(type: .data, channel: channel, stream: ToolFrameWriter.stream, payload: payload)
            messages.append(FrameCodec.encode(frame))
        }
        return messages
    }

    static func gap(channel: UInt8, from: UInt64, to: UInt64) -> ByteBuffer {
        message(["gap": ExecJSON.gap(channel: channel, from: from, to: to)])
    }

    static func inputPassed(upTo offset: UInt64) -> ByteBuffer { message(["stdin": ["passed": .offset(offset)]]) }

    static func result(_ result: ExecResult) -> ByteBuffer { message(["result": ExecJSON.result(result)]) }

    static func failure(_ cause: any Error) -> ByteBuffer {
        frame(["error": FastableError.unexpected(cause, doing: "following the command")])
    }

    private static func message(_ content: JSONValue) -> ByteBuffer { frame(content) }

    private static func frame(_ content: some Encodable) -> ByteBuffer {
        // Encoding these values cannot fail.
        let payload = ByteBuffer(bytes: (try? JSON.encode(content)) ?? Data("{}".utf8))
        return FrameCodec.encode(Frame(type: .message, stream: ToolFrameWriter.stream, payload: payload))
    }
}

/// What a client may ask of its attachment.
enum AttachRequest {
    case input(ByteBuffer)
    /// With the offset of the end, if the client told it.
    case endOfInput(UInt64?)
    case resize(TerminalSize)
    case signal(ShellSignal)

    /// Throws `WebSocketClose`: a client that cannot be understood must not go on as if it had been.
    init(_ message: ByteBuffer) throws(WebSocketClose) {
        let frame: Frame
        do throws(FastableError) {
            frame = try FrameCodec.decode(message: message)
        } catch {
            throw WebSocketClose.violation(error.message)
        }
        guard frame.stream == ToolFrameWriter.stream, frame.flags == 0 else {
            throw WebSocketClose.violation("Frames are of stream \(ToolFrameWriter.stream), without flags.")
        }
        switch (frame.type, frame.channel) {
        case (.data, 0): self = .input(frame.payload)
        case (.end, 0): self = .endOfInput(try Self.offset(frame.payload))
        case (.message, _): self = try Self.wish(frame.payload)
        default: throw WebSocketClose.refusal("A client sends data and end on channel 0, and messages.")
        }
    }

    private static func offset(_ payload: ByteBuffer) throws(WebSocketClose) -> UInt64? {
        guard payload.readableBytes > 0 else { return nil }
        guard payload.readableBytes == 8 else {
            throw WebSocketClose.violation("An end of input is empty, or has its offset in 8 bytes.")
        }
        return payload.getInteger(at: payload.readerIndex)
    }

    private static func wish(_ payload: ByteBuffer) throws(WebSocketClose) -> AttachRequest {
        let members = (try? JSONParser.parse(Data(payload.readableBytesView)))?.object ?? [:]
        if members.count == 1, let size = members["resize"]?.object, size.count == 2,
            let rows = characters(size["rows"]), let columns = characters(size["columns"])
        {
            return .resize(TerminalSize(rows: rows, columns: columns))
        }
        if members.count == 1, let signal = members["signal"]?.string.flatMap(ShellSignal.init) {
            return .signal(signal)
        }
        throw WebSocketClose.refusal(#"A message is {"resize":{"rows":R,"columns":C}} or {"signal":"SIGINT"}."#)
    }

    private static func characters(_ value: JSONValue?) -> UInt16? {
        value?.integer.flatMap { $0 > 0 ? UInt16(exactly: $0) : nil }
    }
}
