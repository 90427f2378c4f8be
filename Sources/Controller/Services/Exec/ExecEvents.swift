import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// How far the streams of a command have come.
public struct ExecOffsets: Codable, Sendable, Equatable {
    public var stdout: UInt64
    public var stderr: UInt64
    /// What the command has been sent to read; a writer goes on from there.
    public var input: UInt64

    public init(stdout: UInt64 = 0, stderr: UInt64 = 0, input: UInt64 = 0) {
        self.stdout = stdout
        self.stderr = stderr
        self.input = input
    }
}

/// Where a reader of a command's output begins.
public enum OutputStart: Sendable, Equatable {
    case at(ExecOffsets)
    /// So many bytes before the end that each stream has now.
    case last(UInt64)

    var offsets: ExecOffsets {
        if case .at(let offsets) = self { return offsets }
        return ExecOffsets()
    }

    var lastBytes: UInt64? {
        if case .last(let bytes) = self { return bytes }
        return nil
    }
}

/// The events of one command as they come from its node, with offsets. One consumer.
struct ExecEvents: Sendable {
    enum Step: Sendable {
        /// Nothing has begun.
        case starting(StartProgress)
        /// Bytes that follow begin at these offsets.
        case started(ExecOffsets)
        /// The command has been given all input before this offset.
        case inputPassed(upTo: UInt64)
        case data(channel: UInt8, offset: UInt64, ByteBuffer)
        case gap(channel: UInt8, from: UInt64, to: UInt64)
        case finished(ExecResult)
    }

    /// The node sent what is no event.
    struct Nonsense: Error { var cause: any Error }

    static let stdout: UInt8 = 1
    static let stderr: UInt8 = 2

    private let stream: MuxStream
    private var offsets = ExecOffsets()

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
        case .starting(let progress): return .starting(progress)
        case .started(_, let stdoutOffset, let stderrOffset, let inputOffset):
            offsets = ExecOffsets(stdout: stdoutOffset, stderr: stderrOffset, input: inputOffset)
            return .started(offsets)
        case .inputPassed(let offset): return .inputPassed(upTo: offset)
        case .gap(let channel, let from, let to):
            if channel == Self.stdout { offsets.stdout = to } else { offsets.stderr = to }
            return .gap(channel: channel, from: from, to: to)
        case .finished(let result): return .finished(result)
        }
    }

    /// The offset of bytes that have just come.
    private mutating func advance(_ channel: UInt8, by count: UInt64) -> UInt64 {
        if channel == Self.stdout {
            defer { offsets.stdout &+= count }
            return offsets.stdout
        }
        defer { offsets.stderr &+= count }
        return offsets.stderr
    }
}
