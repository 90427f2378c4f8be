public import FastableCore
public import NIOCore

/// One flow-controlled stream of a link, open in both directions.
///
/// Drop the last reference to end the program's interest: a stream that neither end had finished is then reset with
/// `cancelled`. What was sent before `finish` still goes out.
public final class MuxStream: Sendable {
    /// Unique on its link. Odd when the dialer opened it.
    public let id: UInt32
    /// What the opener sent.
    public let opening: ByteBuffer

    private let core: MuxCore

    public enum Event: Sendable, Equatable {
        /// One control message, as it was sent.
        case message(ByteBuffer)
        /// Raw bytes. Their order is kept, the cuts between them are not.
        case data(channel: UInt8, ByteBuffer)
        /// The peer sends no more. This end may still send.
        case end
    }

    init(id: UInt32, opening: ByteBuffer, core: MuxCore) {
        self.id = id
        self.opening = opening
        self.core = core
    }

    deinit { core.release(id) }

    /// The next event, or `nil` after `end`. Reading gives the peer credit; a task that stops reading stops the peer.
    ///
    /// One task at a time may read. Throws the peer's error after a reset, `unavailable` when the link is lost (what had
    /// arrived before comes first), `CancellationError` when the task is cancelled; no event is lost by that.
    public nonisolated(nonsending) func next() async throws -> Event? {
        try await core.next(id)
    }

    /// Sends one control message, whole. Waits for credit and for the network.
    ///
    /// Throws `too_large`, `conflict` after `finish`, the error of a reset, `unavailable` when the link is lost, or
    /// `CancellationError`; then nothing was sent.
    public nonisolated(nonsending) func send(message: ByteBuffer) async throws {
        guard message.readableBytes > 0 else {
            throw FastableError(.invalid, "A message must not be empty.")
        }
        try await core.send(.message(message), on: id)
    }

    /// Sends raw bytes, in as many frames as needed. Waits for credit and for the network.
    ///
    /// It returns when the link has taken the bytes over, not when the peer has read them. Throws like `send(message:)`,
    /// but a part may have been sent: reset the stream then, or the peer has a gap that it cannot see.
    public nonisolated(nonsending) func send(data: ByteBuffer, channel: UInt8) async throws {
        guard data.readableBytes > 0 else { return }
        try await core.send(.data(channel: channel, data), on: id)
    }

    /// Sends the end of this direction behind everything sent before. A second call does nothing.
    public nonisolated(nonsending) func finish() async throws {
        try core.finish(id)
    }

    /// Ends both directions at once, whatever waits in them. The peer's calls throw `error`, and so do this end's.
    public func reset(_ error: FastableError) {
        core.reset(id, error)
    }

    /// Does something on the link's event loop after a time, unless it is cancelled before.
    public func schedule(after delay: Duration, _ action: @escaping @Sendable () -> Void) -> Scheduled<Void> {
        core.loop.scheduleTask(in: TimeAmount(delay), action)
    }
}
