import FastableCore
import FoundationEssentials
import HTTPTypes
import HummingbirdCore
package import NIOCore
import NIOFoundationEssentialsCompat
import Synchronization

/// The body of one request, with its limits. It is read once, as a whole or as a stream.
package final class BodyReader: Sendable {
    /// A body that was announced with fewer bytes than this is read to its end and dropped when nobody wanted it; for a larger
    /// one the connection is closed.
    static let drainedBytes = 64 * 1024

    private let body: RequestBody
    private let watch: ConnectionWatch
    private let announcedBytes: Int?
    private let isPresent: Bool
    private let wasRead = Atomic(false)

    init(_ body: RequestBody, head: HTTPRequest, watch: ConnectionWatch) {
        self.body = body
        self.watch = watch
        announcedBytes = head.headerFields[.contentLength].flatMap(Int.init)
        isPresent = (announcedBytes ?? 0) > 0 || head.headerFields[.transferEncoding] != nil
    }

    /// The connection cannot be used for another request: the rest of the body is still to come.
    var leavesRest: Bool {
        guard isPresent, !wasRead.load(ordering: .relaxed) else { return false }
        return watch.awaitsContinue || (announcedBytes ?? .max) > Self.drainedBytes
    }

    /// The whole body. Throws `too_large` naming the limit.
    func collect(limit: Int = Limits.requestBodyBytes) async throws -> Data {
        try check(announced: limit)
        var whole = ByteBuffer()
        for try await part in stream(limit: limit) {
            // Most bodies come in one piece, which is taken as it is.
            if whole.readableBytes == 0 { whole = part } else { whole.writeImmutableBuffer(part) }
        }
        return Data(buffer: whole)
    }

    /// The body in pieces as they arrive; a slow reader slows the client.
    package func stream(limit: Int) -> UploadBody {
        UploadBody(base: body, limit: limit, begin: { self.watch.allowBody() }) {
            self.wasRead.store(true, ordering: .relaxed)
        }
    }

    /// Refuses a body at once that says itself that it is too large.
    func check(announced limit: Int) throws {
        if let announcedBytes, announcedBytes > limit { throw Self.tooLarge(limit) }
    }

    fileprivate static func tooLarge(_ limit: Int) -> FastableError {
        FastableError(
            .tooLarge,
            "The body is larger than \(limit) bytes. Large files go through `PUT /api/projects/{project}/fs/file`.",
            details: ["limit": .integer(Int64(limit))])
    }
}

/// The bytes of a request's body. Throws `too_large` as soon as there are more than the limit.
package struct UploadBody: AsyncSequence, Sendable {
    fileprivate let base: RequestBody
    fileprivate let limit: Int
    fileprivate let begin: @Sendable () -> Void
    fileprivate let end: @Sendable () -> Void

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var base: RequestBody.AsyncIterator
        fileprivate let limit: Int
        fileprivate var begin: (@Sendable () -> Void)?
        fileprivate let end: @Sendable () -> Void
        fileprivate var bytes = 0

        package mutating func next() async throws -> ByteBuffer? {
            begin?()
            begin = nil
            guard let part = try await base.next() else {
                end()
                return nil
            }
            bytes += part.readableBytes
            guard bytes <= limit else { throw BodyReader.tooLarge(limit) }
            return part
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(base: base.makeAsyncIterator(), limit: limit, begin: begin, end: end)
    }
}
