import CLinux

/// Frames on their way to the node: memory of a fixed size, filled at the end and sent from the front.
///
/// Who writes a frame asks for `room` first; what does not fit is left out, never written past the end.
struct Outbox {
    static let capacity = 128 * 1024

    private let base: UnsafeMutableRawPointer
    private var front = 0
    private var end = 0

    init?() {
        guard let memory = fastable_map_own(Self.capacity) else { return nil }
        base = memory
    }

    var isEmpty: Bool { front == end }
    var room: Int { Self.capacity - end }

    mutating func clear() {
        front = 0
        end = 0
    }

    mutating func frame(_ type: UInt8, channel: UInt8 = 0, stream: UInt32, length: Int) {
        put(FASTABLE_FRAME_VERSION)
        put(type)
        put(UInt8(0))
        put(channel)
        put(stream)
        put(UInt32(truncatingIfNeeded: length))
    }

    /// A control message: `length` counts what follows its kind.
    mutating func message(_ kind: UInt8, stream: UInt32, length: Int) {
        frame(FASTABLE_FRAME_MESSAGE, stream: stream, length: length &+ 1)
        put(kind)
    }

    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        guard room >= MemoryLayout<Value>.size else { return }
        base.storeBytes(of: value.bigEndian, toByteOffset: end, as: Value.self)
        end += MemoryLayout<Value>.size
    }

    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count <= room else { return }
        (base + end).copyMemory(from: start, byteCount: bytes.count)
        end += bytes.count
    }

    /// Sends what is waiting and, behind it, bytes that lie elsewhere; what the socket does not take of those is copied.
    /// `false` when the connection is lost.
    mutating func send(to socket: CInt, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Bool {
        let count = fastable_send(
            socket, base + front, end - front, first.baseAddress, first.count, second.baseAddress, second.count)
        guard count >= 0 || count == Int(FASTABLE_AGAIN) else { return false }
        var sent = max(0, count)
        let ours = min(sent, end - front)
        front += ours
        sent -= ours
        if isEmpty { clear() }
        for piece in [first, second] {
            let skipped = min(sent, piece.count)
            sent -= skipped
            put(UnsafeRawBufferPointer(rebasing: piece[skipped...]))
        }
        return true
    }
}
