import CLinux

/// The bytes of an output stream that the node has not stored yet, addressed by their offset in the stream.
struct Ring {
    static let capacity = Int(FASTABLE_INIT_RING_BYTES)

    private let base: UnsafeMutableRawPointer

    init?() {
        guard let memory = fastable_map_own(Self.capacity) else { return nil }
        base = memory
    }

    func free() { fastable_unmap(base, Self.capacity) }

    /// The memory from an offset on, up to `length` bytes or the end of the ring.
    func piece(at offset: UInt64, length: Int) -> UnsafeMutableRawBufferPointer {
        let start = Int(truncatingIfNeeded: offset & UInt64(Self.capacity - 1))
        return UnsafeMutableRawBufferPointer(start: base + start, count: max(0, min(length, Self.capacity - start)))
    }
}
