public import FastableCore
package import FastableWire
import FoundationEssentials
public import NIOCore

/// Following a command in both directions: its output from given offsets on, and what it is to read.
///
/// Drop it, or call `close`, to let the command go on alone. One task may read events while another one writes.
public struct ExecAttachment: Sendable {
    public enum Event: Sendable {
        /// Bytes of channel 1 (stdout) or 2 (stderr) with the offset of the first one.
        case data(channel: UInt8, offset: UInt64, ByteBuffer)
        /// These bytes are no longer kept; the next ones begin at `to`.
        case gap(channel: UInt8, from: UInt64, to: UInt64)
        /// The command has been given all input before this offset.
        case inputPassed(upTo: UInt64)
        /// The command has ended; nothing follows.
        case finished(ExecResult)
    }

    public let exec: ExecID
    /// Where output and input begin.
    public let offsets: ExecOffsets
    private let stream: MuxStream
    private let place: AttachmentLimit.Place?
    private var events: ExecEvents

    /// Waits for the first event of the node. Throws like `next`.
    package init(exec: ExecID, stream: MuxStream, place: AttachmentLimit.Place? = nil) async throws {
        self.exec = exec
        self.stream = stream
        self.place = place
        var events = ExecEvents(stream)
        var first = try await events.next()
        while case .starting? = first { first = try await events.next() }
        guard case .started(let offsets)? = first else {
            throw FastableError(.internal, "The node sent output before it told where it begins.")
        }
        self.offsets = offsets
        self.events = events
    }

    /// The next event; `nil` after `finished`. Throws the node's error, and `unavailable` when the link is lost: attach again
    /// then, at the offsets that were reached.
    public mutating func next() async throws -> Event? {
        while let step = try await events.next() {
            switch step {
            case .data(let channel, let offset, let bytes): return .data(channel: channel, offset: offset, bytes)
            case .gap(let channel, let from, let to): return .gap(channel: channel, from: from, to: to)
            case .inputPassed(let offset): return .inputPassed(upTo: offset)
            case .finished(let result): return .finished(result)
            case .started, .starting: continue
            }
        }
        return nil
    }

    /// Sends bytes for the command to read; waits while it does not read.
    public func write(_ bytes: ByteBuffer) async throws { try await stream.send(data: bytes, channel: 0) }

    /// The command reads an end of file behind what was written. The node refuses that when the input has not come to `offset`.
    public func finishInput(at offset: UInt64? = nil) async throws {
        if let offset { try await control(.endInput(at: offset)) }
        try await stream.finish()
    }

    /// Changes the size of the command's terminal, or signals the process group in its foreground.
    public func control(_ control: ExecControl) async throws {
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(control)))
    }

    /// Lets the command go on without this follower.
    public func close() {
        stream.reset(FastableError(.cancelled, "The follower has gone."))
        place?.leave()
    }
}
