import ControllerServices
import FastableCore
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import NIOCore

/// A command's output as server-sent events: `started`, `stdout`, `stderr`, `gap`, and at last `result` or `error`.
///
/// Each event's id tells how far both streams are behind it, so that a client that comes again with `Last-Event-ID`, as browsers
/// do by themselves, misses nothing and gets nothing twice.
enum ExecEventStream {
    enum Item: Sendable {
        case event(ExecAttachment.Event)
        case failure(FastableError)
    }

    static func reply(_ attachment: ExecAttachment, for request: APIRequest) -> Reply {
        var reply = Reply.stream(type: EventStream.mediaType) { output in
            var events = ExecEventWriter(attachment)
            try await output.write(events.started(attachment.exec))
            try await SourcePump.run(for: request, quietAfter: EventStream.keepAliveTime) { queue in
                await read(attachment, into: queue)
            } _: { (items: [Item]) in
                var buffer = items.isEmpty ? EventStream.keepAlive : ByteBuffer()
                for item in items { events.write(item, to: &buffer) }
                if buffer.readableBytes > 0 { try await output.write(buffer) }
            }
        }
        reply.headers[.accelBuffering] = "no"
        return reply
    }

    private static func read(_ attachment: ExecAttachment, into queue: OutputQueue<Item>) async {
        var attachment = attachment
        defer { attachment.close() }
        do {
            while let event = try await attachment.next() {
                if case .finished = event { return queue.finish(with: .event(event)) }
                try await queue.send(.event(event), bytes: event.byteCount)
            }
            throw FastableError(.internal, "The node ended the command's stream without its result.")
        } catch {
            queue.finish(with: .failure(FastableError.unexpected(error, doing: "following the command")))
        }
    }
}

/// Where both streams are behind an event: `1024-17`, and `1024-17-end` behind the last one.
struct ExecEventID: CustomStringConvertible {
    var offsets: ExecOffsets
    var isEnd = false

    init(_ offsets: ExecOffsets) { self.offsets = offsets }

    /// `nil` when there is none. Throws `invalid` for one that is not ours.
    init?(_ text: String?) throws {
        guard let text, !text.isEmpty else { return nil }
        var parts = text.split(separator: "-", omittingEmptySubsequences: false)
        if parts.count == 3, parts[2] == "end" {
            isEnd = true
            parts.removeLast()
        }
        guard parts.count == 2, let stdout = UInt64(parts[0]), let stderr = UInt64(parts[1]) else {
            throw FastableError(.invalid, "‘Last-Event-ID’ is no id of an event of this stream.")
        }
        offsets = ExecOffsets(stdout: stdout, stderr: stderr)
    }

    var description: String { "\(offsets.stdout)-\(offsets.stderr)\(isEnd ? "-end" : "")" }
}

/// Writes the events of one follower.
private struct ExecEventWriter {
    /// Behind what was written.
    private var place: ExecEventID
    private var splitters: [UInt8: TextSplitter] = [:]

    init(_ attachment: ExecAttachment) { place = ExecEventID(attachment.offsets) }

    func started(_ exec: ExecID) -> ByteBuffer {
        var buffer = ByteBuffer()
        let data: JSONValue = [
            "execId": .string(exec.description), "stdoutOffset": .offset(place.offsets.stdout),
            "stderrOffset": .offset(place.offsets.stderr),
        ]
        write("started", data, to: &buffer)
        return buffer
    }

    mutating func write(_ item: ExecEventStream.Item, to buffer: inout ByteBuffer) {
        switch item {
        case .event(.data(let channel, _, let bytes)):
            if let piece = splitters[channel, default: TextSplitter()].take(bytes) {
                write(piece, channel: channel, to: &buffer)
            }
        case .event(.gap(let channel, let from, let to)):
            finishText(of: channel, to: &buffer)
            self[channel] = to
            write("gap", ExecJSON.gap(channel: channel, from: from, to: to), to: &buffer)
        case .event(.inputPassed): break
        case .event(.finished(let result)):
            for channel in splitters.keys.sorted() { finishText(of: channel, to: &buffer) }
            place.isEnd = true
            write("result", ExecJSON.result(result), to: &buffer)
        case .failure(let error):
            for channel in splitters.keys.sorted() { finishText(of: channel, to: &buffer) }
            write("error", error, to: &buffer)
        }
    }

    private mutating func finishText(of channel: UInt8, to buffer: inout ByteBuffer) {
        guard let piece = splitters[channel]?.finish() else { return }
        write(piece, channel: channel, to: &buffer)
    }

    private mutating func write(_ piece: TextSplitter.Piece, channel: UInt8, to buffer: inout ByteBuffer) {
        let stream = OutputStreamName(channel: channel)
        let offset = self[channel]
        self[channel] = offset &+ UInt64(piece.bytes.readableBytes)
        EventStream.write(
            event: stream.rawValue, id: "\(place)", data: piece.json(stream, offset: offset), to: &buffer)
    }

    private func write(_ event: String, _ data: some Encodable, to buffer: inout ByteBuffer) {
        let data = ByteBuffer(bytes: (try? JSON.encode(data)) ?? Data())
        EventStream.write(event: event, id: "\(place)", data: data, to: &buffer)
    }

    private subscript(channel: UInt8) -> UInt64 {
        get { OutputStreamName(channel: channel) == .stdout ? place.offsets.stdout : place.offsets.stderr }
        set {
            if OutputStreamName(channel: channel) == .stdout {
                place.offsets.stdout = newValue
            } else {
                place.offsets.stderr = newValue
            }
        }
    }
}

extension ExecAttachment.Event {
    /// What it costs to hold, roughly.
    fileprivate var byteCount: Int {
        if case .data(_, _, let bytes) = self { bytes.readableBytes + 64 } else { 64 }
    }
}
