import CLinux

/// The fixed beginning of every frame; see `init_protocol.h`.
struct FrameHeader {
    static let size = Int(FASTABLE_INIT_HEADER_BYTES)

    let type: UInt8
    let channel: UInt8
    let stream: UInt32
    let length: Int

    /// Reads `size` bytes; `nil` when they cannot be a header of this protocol.
    init?(_ bytes: UnsafeRawPointer) {
        length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)))
        type = bytes.load(fromByteOffset: 1, as: UInt8.self)
        channel = bytes.load(fromByteOffset: 3, as: UInt8.self)
        stream = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let flags = bytes.load(fromByteOffset: 2, as: UInt8.self)
        guard bytes.load(as: UInt8.self) == FASTABLE_FRAME_VERSION, flags == 0,
            length <= Int(FASTABLE_INIT_PAYLOAD_BYTES)
        else { return nil }
    }
}

/// Reads a payload from front to back; `nil` instead of reading past its end.
struct PayloadReader {
    private var position: UnsafeMutableRawPointer
    private(set) var left: Int
    /// Where the last string ended: its terminator is written when the bytes behind it have been read.
    private var openEnd: UnsafeMutableRawPointer?

    /// One byte behind the payload must be writable, for the terminator of the last string.
    init(_ start: UnsafeMutableRawPointer, _ length: Int) {
        position = start
        left = length
    }

    mutating func byte() -> UInt8? {
        guard left >= 1 else { return nil }
        let value = position.load(as: UInt8.self)
        advance(1)
        return value
    }

    mutating func integer32() -> UInt32? {
        guard left >= 4 else { return nil }
        let value = UInt32(bigEndian: position.loadUnaligned(as: UInt32.self))
        advance(4)
        return value
    }

    mutating func integer64() -> UInt64? {
        guard left >= 8 else { return nil }
        let value = UInt64(bigEndian: position.loadUnaligned(as: UInt64.self))
        advance(8)
        return value
    }

    /// A string where it stands; it is terminated in place once the next value is read or `finish` is called.
    mutating func string() -> UnsafeBufferPointer<CChar>? {
        guard let size = integer32(), Int(size) <= left else { return nil }
        let start = position
        advance(Int(size))
        openEnd = position
        return UnsafeBufferPointer(start: UnsafePointer(start.assumingMemoryBound(to: CChar.self)), count: Int(size))
    }

    /// Everything that is left.
    mutating func rest() -> UnsafeRawBufferPointer {
        let start = position
        let count = left
        advance(count)
        return UnsafeRawBufferPointer(start: start, count: count)
    }

    /// Terminates the last string; `false` when bytes are left over.
    mutating func finish() -> Bool {
        advance(0)
        return left == 0
    }

    private mutating func advance(_ count: Int) {
        position += count
        left -= count
        openEnd?.storeBytes(of: 0, as: UInt8.self)
        openEnd = nil
    }
}
