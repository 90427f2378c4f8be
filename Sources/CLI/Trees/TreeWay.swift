import ArgumentParser
import FastableCompression
import FastableCore
import NIOCore

/// How a tree travels between here and a project.
struct TreeWay: ParsableArguments {
    enum Compression: String, ExpressibleByArgument, CaseIterable { case auto, zstd, none }

    /// The content coding.
    static let coding = "zstd"

    @Option(
        help: ArgumentHelp(
            "Compress it on its way. ‘auto’ does, unless the controller is on this machine, where it takes longer.",
            valueName: "how"))
    var compression = Compression.auto

    func compresses(to client: Client) -> Bool {
        switch compression {
        case .auto: !client.isOnThisMachine
        case .zstd: true
        case .none: false
        }
    }
}

/// What a pipe gives, compressed.
struct CompressedBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let pipe: PipeBytes

    final class AsyncIterator: AsyncIteratorProtocol {
        private var base: PipeBytes.AsyncIterator
        private var encoder: ZstdEncoder?
        private var isAtEnd = false

        init(_ base: PipeBytes.AsyncIterator) { self.base = base }

        func next() async throws -> ByteBuffer? {
            if encoder == nil { encoder = try ZstdEncoder() }
            var output: [UInt8] = []
            while output.isEmpty, !isAtEnd {
                if let bytes = try await base.next() {
                    try bytes.withUnsafeReadableBytes { try encoder?.compress($0, into: &output) }
                } else {
                    isAtEnd = true
                    try encoder?.finish(into: &output)
                }
            }
            return output.isEmpty ? nil : ByteBuffer(bytes: output)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pipe.makeAsyncIterator()) }
}
