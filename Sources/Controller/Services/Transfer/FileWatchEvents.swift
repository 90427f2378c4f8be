public import FastableCore
import FastableWire
import FoundationEssentials
import NIOFoundationEssentialsCompat

/// Changes as a node tells them, with its flow control: while nobody reads, the node joins them and at last says that some were
/// lost. May be iterated once; when it is dropped, the node stops watching.
public struct FileWatchEvents: AsyncSequence, Sendable {
    public typealias Element = [FileWatchEvent]

    private let stream: MuxStream

    init(stream: MuxStream) { self.stream = stream }

    public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

    public struct Iterator: AsyncIteratorProtocol {
        private let stream: MuxStream

        init(stream: MuxStream) { self.stream = stream }

        /// Throws the node's error, or `unavailable` when the link is lost.
        public mutating func next() async throws -> [FileWatchEvent]? {
            while let event = try await stream.next() {
                guard case .message(let payload) = event else { continue }
                return try JSON.decode(FileWatchBatch.self, from: Data(buffer: payload)).events
            }
            return nil
        }
    }
}
