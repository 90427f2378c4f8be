import CLinux

/// Bytes from the node, until they make whole frames.
struct Inbox {
    /// What stands at the front.
    enum Next {
        case incomplete, broken
        case frame(FrameHeader, UnsafeMutableRawPointer)
    }

    /// One frame of the largest size, and a byte for the terminator of its last string.
    static let capacity = FrameHeader.size + Int(FASTABLE_INIT_PAYLOAD_BYTES)
    /// Memory that was used beyond this is given back once the bytes are handled.
    private static let retained = 16 * 1024

    private let base: UnsafeMutableRawPointer
    private var front = 0
    private var end = 0
    private var highest = 0

    init?() {
        guard let memory = fastable_map(Self.capacity + 1) else { return nil }
        base = memory
    }

    mutating func clear() {
        front = 0
        end = 0
        if highest > Self.retained {
            fastable_discard(base + Self.retained, Self.capacity + 1 - Self.retained)
            highest = 0
        }
    }

    /// One receive: the number of bytes, 0 at the end of the connection, or a negative errno.
    mutating func receive(from socket: CInt, passed: inout CInt) -> Int {
        if front > 0 {
            base.copyMemory(from: base + front, byteCount: end - front)
            end -= front
            front = 0
        }
        guard end < Self.capacity else { return Int(FASTABLE_AGAIN) }
        let count = fastable_receive(socket, base + end, Self.capacity - end, &passed)
        if count > 0 { end += count }
        highest = max(highest, end)
        return count
    }

    func next() -> Next {
        guard end - front >= FrameHeader.size else { return .incomplete }
        guard let header = FrameHeader(base + front) else { return .broken }
        guard end - front - FrameHeader.size >= header.length else { return .incomplete }
        return .frame(header, base + front + FrameHeader.size)
    }

    mutating func drop(_ header: FrameHeader) {
        front += FrameHeader.size + header.length
        if front >= end { clear() }
    }
}
