import FastableCore
import FastableWire
public import NIOCore

/// Raw bytes that a node sends, with its flow control: a slow reader slows the node. May be iterated once; when it is
/// dropped, the node stops sending.
public struct NodeBytes: AsyncSequence, Sendable {
    public typealias Element = ByteBuffer

    private let first: ByteBuffer?
    private let stream: MuxStream
    private let metrics: Metrics

    init(first: ByteBuffer? = nil, stream: MuxStream, metrics: Metrics) {
        self.first = first
        self.stream = stream
        self.metrics = metrics
    }

    public func makeAsyncIterator() -> Iterator { Iterator(first: first, stream: stream, metrics: metrics) }

    public struct Iterator: AsyncIteratorProtocol {
        private var first: ByteBuffer?
        private let stream: MuxStream
        private let metrics: Metrics

        init(first: ByteBuffer?, stream: MuxStream, metrics: Metrics) {
            self.first = first
            self.stream = stream
            self.metrics = metrics
        }

        /// Throws the node's error, or `unavailable` when the link is lost: the bytes are incomplete then.
        public mutating func next() async throws -> ByteBuffer? {
            if let bytes = first {
                first = nil
                return counted(bytes)
            }
            return try await Self.next(of: stream).map(counted)
        }

        static func next(of stream: MuxStream) async throws -> ByteBuffer? {
            while let event = try await stream.next() {
                if case .data(_, let bytes) = event { return bytes }
            }
            return nil
        }

        private func counted(_ bytes: ByteBuffer) -> ByteBuffer {
            metrics.add(.transferredBytes, Double(bytes.readableBytes), ["out"])
            return bytes
        }
    }
}
