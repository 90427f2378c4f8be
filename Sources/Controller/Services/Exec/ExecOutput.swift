public import FastableCore
public import NIOCore

/// One output stream of a command from a given offset. May be iterated once; when it is dropped, the node stops sending.
public struct ExecOutput: AsyncSequence, Sendable {
    public enum Element: Sendable {
        /// `offset` is that of the first byte.
        case data(offset: UInt64, ByteBuffer)
        /// These bytes are no longer kept.
        case gap(from: UInt64, to: UInt64)
        /// The command has ended; nothing follows.
        case finished(ExecResult)
    }

    /// Offset of the first byte that can be had; above the wanted one when older bytes are no longer kept.
    public let firstOffset: UInt64
    private let channel: UInt8
    private let events: ExecEvents
    private let place: AttachmentLimit.Place?

    init(_ events: ExecEvents, channel: UInt8, firstOffset: UInt64, place: AttachmentLimit.Place? = nil) {
        self.events = events
        self.place = place
        self.channel = channel
        self.firstOffset = firstOffset
    }

    public func makeAsyncIterator() -> Iterator { Iterator(events: events, channel: channel, place: place) }

    public struct Iterator: AsyncIteratorProtocol {
        private var events: ExecEvents
        private let channel: UInt8
        private let place: AttachmentLimit.Place?
        private var isFinished = false

        init(events: ExecEvents, channel: UInt8, place: AttachmentLimit.Place?) {
            self.events = events
            self.place = place
            self.channel = channel
        }

        public mutating func next() async throws -> Element? {
            guard !isFinished else { return nil }
            while let step = try await events.next() {
                switch step {
                case .data(let channel, let offset, let bytes) where channel == self.channel:
                    return .data(offset: offset, bytes)
                case .gap(let channel, let from, let to) where channel == self.channel: return .gap(from: from, to: to)
                case .finished(let result):
                    isFinished = true
                    return .finished(result)
                case .started, .starting, .inputPassed, .data, .gap: continue
                }
            }
            isFinished = true
            return nil
        }
    }
}
