import Crypto
import Foundation
import NIOCore

/// Bytes of any number, made as they are read, so that a test can send more than fits into memory.
///
/// Every megabyte is another one and, within itself, repeats: it compresses, and nothing of it can be mixed up.
struct LargeContent: Sendable {
    static let pieceBytes = 1_000_000
    private static let pattern: [UInt8] = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }

    let byteCount: Int

    /// The piece that begins at `index * pieceBytes`.
    func piece(_ index: Int) -> ByteBuffer {
        let count = min(Self.pieceBytes, byteCount - index * Self.pieceBytes)
        var piece = ByteBuffer()
        piece.reserveCapacity(Self.pieceBytes)
        piece.writeInteger(index)
        while piece.readableBytes < count { piece.writeBytes(Self.pattern) }
        return piece.readSlice(length: count) ?? piece
    }

    var pieceCount: Int { (byteCount + Self.pieceBytes - 1) / Self.pieceBytes }

    var sha256: String {
        var digest = SHA256()
        for index in 0..<pieceCount { piece(index).withUnsafeReadableBytes { digest.update(bufferPointer: $0) } }
        return digest.finalize().hexText
    }

    /// As a body, between what comes before it and what follows.
    func body(after head: ByteBuffer? = nil, before tail: ByteBuffer? = nil) -> Body {
        Body(content: self, head: head, tail: tail)
    }

    struct Body: AsyncSequence, Sendable {
        typealias Element = ByteBuffer
        let content: LargeContent
        let head: ByteBuffer?
        let tail: ByteBuffer?

        struct AsyncIterator: AsyncIteratorProtocol {
            let content: LargeContent
            var head: ByteBuffer?
            var tail: ByteBuffer?
            var index = 0

            mutating func next() async throws -> ByteBuffer? {
                if let head = head.take() { return head }
                guard index < content.pieceCount else { return tail.take() }
                defer { index += 1 }
                return content.piece(index)
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(content: content, head: head, tail: tail) }
    }
}

/// The digest of a part of a stream.
struct PartDigest {
    private(set) var total = 0
    private(set) var before = ByteBuffer()
    private let range: Range<Int>
    private var digest = SHA256()

    /// What stands before the range is kept, and what follows it only counted.
    init(of range: Range<Int>) { self.range = range }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        let start = max(0, range.lowerBound - total)
        let end = max(start, min(bytes.count, range.upperBound - total))
        if start > 0 { before.writeBytes(bytes.prefix(start)) }
        if start < end { digest.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes[start..<end])) }
        total += bytes.count
    }

    var sha256: String { digest.finalize().hexText }
}

/// The header of one file of a tar archive.
enum TarHead {
    static func make(_ name: String, size: Int) -> ByteBuffer {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            bytes.replaceSubrange(offset..<(offset + text.utf8.count), with: text.utf8)
        }
        put(name, at: 0)
        put("0000644", at: 100)
        // GNU's form of large numbers.
        bytes[124] = 0x80
        for index in 0..<8 { bytes[135 - index] = UInt8(truncatingIfNeeded: size >> (8 * index)) }
        put("0", at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put("        ", at: 148)
        let sum = String(bytes.reduce(0) { $0 + Int($1) }, radix: 8)
        put(String(repeating: "0", count: 6 - sum.count) + sum + "\0 ", at: 148)
        return ByteBuffer(bytes: bytes)
    }
}

extension SHA256Digest {
    fileprivate var hexText: String { map { String(format: "%02x", $0) }.joined() }
}
