/// Follows the output of one exec from given offsets to its end, at its own pace.
///
/// While it lives, and for a while after that, the exec's output waits for it, unless the exec chose to drop: when more has come than is
/// kept, the command is slowed down. Let it go, or call `close`, when you do not read on. One task at a time may read.
public final class ExecReader: Sendable {
    private let session: ExecSession
    private let number: Int

    init(session: ExecSession, number: Int) {
        self.session = session
        self.number = number
    }

    deinit { close() }

    /// The next piece, or `nil` after `finished`, or when it has all that it came for.
    ///
    /// - Throws: `gone` when the container ended first, `limit` when there was no room for the command, `cancelled`, and
    ///   `unavailable` when the node stops or lost the command.
    public func next() async throws -> ExecChunk? {
        while true {
            switch session.step(number) {
            case .chunk(let chunk): return chunk
            case .end: return nil
            case .failure(let error): throw error
            case .file(let channel, let offset, let count):
                if let chunk = try await session.read(number, channel: channel, offset: offset, count: count) {
                    return chunk
                }
            case .wait: try await session.wait(number)
            }
        }
    }

    /// Lets the exec go on without this reader.
    public func close() { session.removeReader(number) }
}

extension ExecReader: AsyncSequence, AsyncIteratorProtocol {
    public typealias Element = ExecChunk

    public func makeAsyncIterator() -> ExecReader { self }
}
