/// Reads a fuzzer's bytes as decisions; when they are used up, everything is zero and empty.
struct ByteScript {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isOver: Bool { position >= bytes.count }

    mutating func byte() -> UInt8 {
        guard position < bytes.count else { return 0 }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func number(below limit: Int) -> Int { Int(byte()) % limit }

    mutating func flag() -> Bool { byte() & 1 == 1 }

    mutating func integer<Value: FixedWidthInteger & UnsignedInteger>(_: Value.Type) -> Value {
        var value: Value = 0
        for _ in 0..<MemoryLayout<Value>.size { value = value << 8 | Value(byte()) }
        return value
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        let taken = Array(bytes[position..<min(bytes.count, position + count)])
        position += taken.count
        return taken
    }

    /// As many bytes as the next one tells.
    mutating func shortBytes() -> [UInt8] { bytes(Int(byte())) }

    mutating func rest() -> [UInt8] { bytes(bytes.count) }
}
