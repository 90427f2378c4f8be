import CLinux

/// Short answers that belong to no exec's state, in order. When it is full, init reads no more requests.
struct Replies {
    private static let capacity = 64

    enum Reply {
        case pong(UInt64)
        case refused(stream: UInt32, reason: UInt8)
        case receipt(stream: UInt32, number: UInt32, error: UInt32)
    }

    private let ring: UnsafeMutablePointer<Reply>
    private var front = 0
    private var count = 0

    init?() {
        guard let memory = fastable_map(Self.capacity * MemoryLayout<Reply>.stride) else { return nil }
        ring = memory.bindMemory(to: Reply.self, capacity: Self.capacity)
    }

    /// One request, or the release of one exec, causes no more answers than fit into this space.
    var hasRoom: Bool { count + 1 + Exec.receiptCapacity <= Self.capacity }

    mutating func clear() { count = 0 }

    mutating func add(_ reply: Reply) {
        guard count < Self.capacity else { return }
        (ring + (front + count) % Self.capacity).initialize(to: reply)
        count += 1
    }

    mutating func take() -> Reply? {
        guard count > 0 else { return nil }
        defer {
            front = (front + 1) % Self.capacity
            count -= 1
        }
        return ring[front]
    }
}
