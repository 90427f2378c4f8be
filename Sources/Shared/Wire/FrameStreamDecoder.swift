public import FastableCore
public import NIOCore

/// Cuts a byte stream (a unix socket, an HTTP body) into frames.
///
/// After an error the stream has lost its frame boundaries: close it. `next` then throws the same error again.
public struct FrameStreamDecoder: Sendable {
    private let payloadLimit: Int
    private var buffer = ByteBuffer()
    private var header: FrameHeader?
    private var failure: FastableError?

    public init(payloadLimit: Int = Limits.framePayloadBytes) {
        self.payloadLimit = payloadLimit
    }

    /// Adds bytes as they arrive. Holds at most what was appended since the last complete frame.
    public mutating func append(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next complete frame; `nil` when more bytes are needed.
    public mutating func next() throws(FastableError) -> Frame? {
        if let failure { throw failure }
        do throws(FastableError) {
            if header == nil { header = try FrameCodec.readHeader(from: &buffer, payloadLimit: payloadLimit) }
        } catch {
            failure = error
            throw error
        }
        guard let header, let payload = buffer.readSlice(length: Int(header.payloadBytes)) else { return nil }
        self.header = nil
        return Frame(header, payload: payload)
    }

    /// Call when the byte stream ends: throws `invalid` when it ended within a frame.
    public func finish() throws(FastableError) {
        if let failure { throw failure }
        guard header == nil, buffer.readableBytes == 0 else {
            throw FastableError(.invalid, "The stream of frames ended within a frame.")
        }
    }
}
