package import NIOCore

/// Cuts a stream of bytes into pieces that are whole UTF-8 text wherever the bytes allow it.
///
/// A character that ends in the next chunk is held back until then, so that a reader who wants text gets text. Bytes that are
/// no UTF-8, or have a NUL among them as no text has, come through as they are.
package struct TextSplitter: Sendable {
    package struct Piece: Sendable, Equatable {
        package var bytes: ByteBuffer
        package var isText: Bool

        package init(bytes: ByteBuffer, isText: Bool) {
            self.bytes = bytes
            self.isText = isText
        }
    }

    private var held = ByteBuffer()

    package init() {}

    /// The piece that can be given now; `nil` while there is only the beginning of a character.
    package mutating func take(_ bytes: ByteBuffer) -> Piece? {
        var all = bytes
        if held.readableBytes > 0 {
            var rest = bytes
            held.writeBuffer(&rest)
            all = held
            held = ByteBuffer()
        }
        let whole = all.readableBytes - Self.unfinishedLength(all.readableBytesView)
        if let head = all.getSlice(at: all.readerIndex, length: whole), Self.isText(head) {
            all.moveReaderIndex(forwardBy: whole)
            held = ByteBuffer(bytes: all.readableBytesView)
            return whole > 0 ? Piece(bytes: head, isText: true) : nil
        }
        return all.readableBytes > 0 ? Piece(bytes: all, isText: false) : nil
    }

    /// What was held back when the stream ended in the middle of a character.
    package mutating func finish() -> Piece? {
        defer { held = ByteBuffer() }
        return held.readableBytes > 0 ? Piece(bytes: held, isText: false) : nil
    }

    private static func isText(_ bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { !$0.contains(0) && String(validating: $0, as: UTF8.self) != nil }
    }

    /// How many bytes at the end begin a character that is not complete.
    private static func unfinishedLength(_ bytes: ByteBufferView) -> Int {
        for (distance, byte) in bytes.suffix(3).reversed().enumerated() {
            switch byte {
            case 0x80...0xbf: continue
            case 0xc2...0xdf: return distance + 1 < 2 ? distance + 1 : 0
            case 0xe0...0xef: return distance + 1 < 3 ? distance + 1 : 0
            case 0xf0...0xf4: return distance + 1 < 4 ? distance + 1 : 0
            default: return 0
            }
        }
        return 0
    }
}
