import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore

/// The events of a running operation as server-sent events: `started`, `output`, `gap`, `found`, `progress`, and at last `result` or `error`.
struct ToolEventWriter {
    private var splitters: [UInt8: TextSplitter] = [:]
    private var offsets: [UInt8: UInt64] = [:]
    private var nextID: UInt64 = 1

    mutating func write(_ item: OperationRun.Item, to buffer: inout ByteBuffer) {
        switch item {
        case .event(.execStarted(let id)):
            write("started", ["execId": .string(id.description)], to: &buffer)
        case .event(.progress(let message, let fraction)):
            write(
                "progress", ["message": .string(message), "fraction": fraction.map(JSONValue.number) ?? .null],
                to: &buffer)
        case .event(.found(let items)):
            for item in items { write("found", item, to: &buffer) }
        case .event(.output(let channel, let bytes)):
            if let piece = splitters[channel, default: TextSplitter()].take(bytes) {
                write(piece, channel: channel, to: &buffer)
            }
        case .event(.missing(let channel, let from, let to)):
            finish(channel, to: &buffer)
            offsets[channel] = to
            write("gap", ExecJSON.gap(channel: channel, from: from, to: to), to: &buffer)
        case .outcome(let outcome):
            for channel in splitters.keys.sorted() { finish(channel, to: &buffer) }
            write(outcome, to: &buffer)
        }
    }

    /// What was held back in the middle of a character.
    private mutating func finish(_ channel: UInt8, to buffer: inout ByteBuffer) {
        if let piece = splitters[channel]?.finish() { write(piece, channel: channel, to: &buffer) }
        splitters[channel] = nil
    }

    private mutating func write(_ outcome: Result<Data, FastableError>, to buffer: inout ByteBuffer) {
        switch outcome {
        case .success(let output): write("result", ByteBuffer(bytes: output), to: &buffer)
        case .failure(let error): write("error", ByteBuffer(bytes: (try? JSON.encode(error)) ?? Data()), to: &buffer)
        }
    }

    /// `offset` is the place of the first byte in its stream, so that a reader can go on with
    /// `/api/execs/{id}/output?offset=` after a broken connection.
    private mutating func write(_ piece: TextSplitter.Piece, channel: UInt8, to buffer: inout ByteBuffer) {
        let offset = offsets[channel, default: 0]
        offsets[channel] = offset + UInt64(piece.bytes.readableBytes)
        write("output", piece.json(OutputStreamName(channel: channel), offset: offset), to: &buffer)
    }

    private mutating func write(_ event: String, _ object: JSONValue, to buffer: inout ByteBuffer) {
        write(event, ByteBuffer(bytes: (try? JSON.encode(object)) ?? Data()), to: &buffer)
    }

    private mutating func write(_ event: String, _ data: ByteBuffer, to buffer: inout ByteBuffer) {
        EventStream.write(event: event, id: "\(nextID)", data: data, to: &buffer)
        nextID += 1
    }
}

extension TextSplitter.Piece {
    /// The data of an event: `text`, or `base64` for what is no text, so that no byte is lost.
    func json(_ stream: OutputStreamName, offset: UInt64) -> ByteBuffer {
        var data = ByteBuffer()
        data.writeString("{\"stream\":\"\(stream.rawValue)\",\"offset\":\(offset),")
        if isText {
            data.writeStaticString("\"text\":")
            data.writeJSONString(bytes)
        } else {
            data.writeStaticString("\"base64\":\"")
            data.writeString(Data(bytes.readableBytesView).base64EncodedString())
            data.writeStaticString("\"")
        }
        data.writeStaticString("}")
        return data
    }
}

/// What the streams of a command are called in URLs and events.
enum OutputStreamName: String, CaseIterable {
    case stdout, stderr

    init(channel: UInt8) { self = channel == 2 ? .stderr : .stdout }

    var channel: UInt8 { self == .stdout ? 1 : 2 }
}
