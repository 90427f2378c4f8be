public import NIOCore

/// The first and the last part of one output stream, for an answer that must stay small.
///
/// It holds at most one and a half times its limit in memory, however much passes through.
public struct CappedOutput: Sendable {
    private let half: Int
    private var head = ByteBuffer()
    private var tail = ByteBuffer()
    /// Bytes that passed through, also those that were not kept.
    public private(set) var totalBytes: UInt64 = 0
    /// Places in the stream, behind what was kept of the beginning and behind the last byte.
    private var headEnd: UInt64 = 0
    private var end: UInt64 = 0

    /// `limit` counts bytes of the text without the marker line.
    public init(limit: Int) { half = max(1, limit / 2) }

    /// `true` when the middle is missing from `text`.
    public var isCut: Bool { totalBytes > UInt64(half) * 2 }

    /// `offset` is the place of the first byte in its stream; behind the last one unless given.
    public mutating func append(_ bytes: ByteBuffer, at offset: UInt64? = nil) {
        var bytes = bytes
        let start = offset ?? end
        end = start + UInt64(bytes.readableBytes)
        totalBytes += UInt64(bytes.readableBytes)
        let room = half - head.readableBytes
        if room > 0, var first = bytes.readSlice(length: min(room, bytes.readableBytes)) {
            headEnd = start + UInt64(first.readableBytes)
            head.writeBuffer(&first)
        }
        guard bytes.readableBytes > 0 else { return }
        if bytes.readableBytes >= half {
            bytes.moveReaderIndex(forwardBy: bytes.readableBytes - half)
            tail.clear()
        }
        tail.writeBuffer(&bytes)
        // Trimming at twice the size makes the copies few; what is shown is cut exactly in `text`.
        if tail.readableBytes >= half * 2 {
            tail.moveReaderIndex(forwardBy: tail.readableBytes - half)
            tail.discardReadBytes()
        }
    }

    /// The text, with a marker line where the middle was cut. Bytes that are not UTF-8 show as `U+FFFD`.
    public var text: String {
        let (first, last) = shown
        guard isCut else { return String(decoding: first + last, as: UTF8.self) }
        let left = totalBytes - UInt64(first.count + last.count)
        let marker = "\n[… \(left) of \(totalBytes) bytes left out here, from offset \(omittedFrom) on …]\n"
        return String(decoding: first, as: UTF8.self) + marker + String(decoding: last, as: UTF8.self)
    }

    /// The places in the stream whose bytes are not in `text`; `nil` when nothing was cut.
    public var omitted: Range<UInt64>? {
        guard isCut else { return nil }
        return omittedFrom..<max(omittedFrom, end - UInt64(shown.last.count))
    }

    private var omittedFrom: UInt64 { headEnd - UInt64(head.readableBytes - shown.first.count) }

    private var shown: (first: [UInt8], last: [UInt8]) {
        let first = Array(head.readableBytesView)
        let last = Array(tail.readableBytesView.suffix(half))
        guard isCut else { return (first, last) }
        return (Array(Self.withoutPartialEnd(first[...])), Array(Self.withoutPartialStart(last[...])))
    }

    /// A character that the cut went through would show as replacement characters: leave it out.
    private static func withoutPartialEnd(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        for (distance, byte) in bytes.suffix(4).reversed().enumerated() where byte & 0xc0 != 0x80 {
            let length = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
            return distance + 1 < length ? bytes.dropLast(distance + 1) : bytes
        }
        return bytes
    }

    private static func withoutPartialStart(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let continuation = bytes.prefix(3).prefix { $0 & 0xc0 == 0x80 }
        return bytes.dropFirst(continuation.count)
    }
}
