import CLinux

/// All commands that init knows, in memory of a fixed size that is touched only as far as it is used.
struct ExecTable {
    static let capacity = Int(FASTABLE_INIT_EXECS)
    static let tokenCapacity = Int(FASTABLE_INIT_TOKEN_BYTES)

    private let slots: UnsafeMutablePointer<Exec>
    /// Of each slot: its input.
    private let inputs: UnsafeMutablePointer<InputStream>
    /// Of each slot: stdout and stderr.
    private let streams: UnsafeMutablePointer<OutputStream>
    /// Of each slot: why its program could not be executed, written by the process that tried.
    private let failures: UnsafeMutablePointer<fastable_spawn_failure>
    /// Of each slot: one byte for the length, then the token.
    private let tokens: UnsafeMutableRawPointer
    /// Behind the last used slot.
    private(set) var end = 0

    init?() {
        let stride = MemoryLayout<Exec>.stride
        guard let memory = fastable_map(Self.capacity * stride),
            let inputs = fastable_map(Self.capacity * MemoryLayout<InputStream>.stride),
            let streams = fastable_map(Self.capacity * 2 * MemoryLayout<OutputStream>.stride),
            let failures = fastable_map_shared(Self.capacity * MemoryLayout<fastable_spawn_failure>.stride),
            let tokens = fastable_map(Self.capacity * (Self.tokenCapacity + 1))
        else { return nil }
        self.failures = failures.bindMemory(to: fastable_spawn_failure.self, capacity: Self.capacity)
        self.inputs = inputs.bindMemory(to: InputStream.self, capacity: Self.capacity)
        self.streams = streams.bindMemory(to: OutputStream.self, capacity: Self.capacity * 2)
        slots = memory.bindMemory(to: Exec.self, capacity: Self.capacity)
        self.tokens = tokens
    }

    subscript(slot: Int) -> UnsafeMutablePointer<Exec> { slots + slot }

    func slot(number: UInt32) -> Int? { firstSlot { $0.pointee.isUsed && $0.pointee.number == number } }

    func slot(pid: CInt) -> Int? { firstSlot { $0.pointee.phase == .running && $0.pointee.pid == pid } }

    var count: Int {
        var count = 0
        for slot in 0..<end where slots[slot].isUsed { count += 1 }
        return count
    }

    func failure(of slot: Int) -> UnsafeMutablePointer<fastable_spawn_failure> { failures + slot }

    func token(of slot: Int) -> UnsafeRawBufferPointer {
        let start = tokens + slot * (Self.tokenCapacity + 1)
        return UnsafeRawBufferPointer(start: start + 1, count: Int(start.load(as: UInt8.self)))
    }

    /// Takes a free slot for a command; `nil` when all are used.
    mutating func claim(number: UInt32, token: UnsafeRawBufferPointer) -> Int? {
        guard token.count <= Self.tokenCapacity else { return nil }
        guard let slot = firstSlot({ !$0.pointee.isUsed }) ?? (end < Self.capacity ? end : nil) else { return nil }
        if slot == end {
            let output = streams + slot * 2
            output.initialize(repeating: OutputStream(), count: 2)
            (inputs + slot).initialize(to: InputStream())
            (slots + slot).initialize(to: Exec(input: inputs + slot, output: output, error: output + 1))
            end += 1
        }
        slots[slot].number = number
        let start = tokens + slot * (Self.tokenCapacity + 1)
        start.storeBytes(of: UInt8(truncatingIfNeeded: token.count), as: UInt8.self)
        if let bytes = token.baseAddress { (start + 1).copyMemory(from: bytes, byteCount: token.count) }
        return slot
    }

    mutating func free(_ slot: Int) {
        slots[slot].free()
        while end > 0, !slots[end - 1].isUsed { end -= 1 }
    }

    private func firstSlot(_ matches: (UnsafeMutablePointer<Exec>) -> Bool) -> Int? {
        for slot in 0..<end where matches(slots + slot) { return slot }
        return nil
    }
}
