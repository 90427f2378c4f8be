import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationCompat

/// The events of one command as they come from its node, with offsets. One consumer.
struct ExecEvents: Sendable {
    enum Step: Sendable {
        /// Bytes that follow begin at these offsets.
        case started(stdoutOffset: UInt64, stderrOffset: UInt64)
        case data(channel: UInt8, offset: UInt64, ByteBuffer)
        case gap(channel: UInt8, from: UInt64, to: UInt64)
        case finished(ExecResult)
    }

    /// The node sent what is no event.
    struct Nonsense: Error { var cause: any Error }

    static let stdout: UInt8 = 1
    static let stderr: UInt8 = 2

    private let stream: MuxStream
    private var stdoutOffset: UInt64 = 0
    private var stderrOffset: UInt64 = 0

    init(_ stream: MuxStream) { self.stream = stream }

    /// The next event; `nil` when the node ended the stream. Throws the node's own error, and `unavailable` when the link is lost.
    mutating func next() async throws -> Step? {
        while let event = try await stream.next() {
            switch event {
            case .data(let channel, let bytes):
                guard channel == Self.stdout || channel == Self.stderr else { continue }
                return .data(channel: channel, offset: advance(channel, by: UInt64(bytes.readableBytes)), bytes)
            case .message(let payload):
                return step(for: try Self.event(payload))
            case .end: continue
            }
        }
        return nil
    }

    private static func event(_ payload: ByteBuffer) throws -> ExecEvent {
        do {
            return try JSON.decode(ExecEvent.self, from: Data(buffer: payload))
        } catch {
            throw Nonsense(cause: error)
        }
    }

    private mutating func step(for event: ExecEvent) -> Step {
        switch event {
        case .started(_, let stdoutOffset, let stderrOffset):
            self.stdoutOffset = stdoutOffset
            self.stderrOffset = stderrOffset
            return .started(stdoutOffset: stdoutOffset, stderrOffset: stderrOffset)
        case .gap(let channel, let from, let to):
            if channel == Self.stdout { stdoutOffset = to } else { stderrOffset = to }
            return .gap(channel: channel, from: from, to: to)
        case .finished(let result): return .finished(result)
        }
    }

    /// The offset of bytes that have just come.
    private mutating func advance(_ channel: UInt8, by count: UInt64) -> UInt64 {
        if channel == Self.stdout {
            defer { stdoutOffset &+= count }
            return stdoutOffset
        }
        defer { stderrOffset &+= count }
        return stderrOffset
    }
}
