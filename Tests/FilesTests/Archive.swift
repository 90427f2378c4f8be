/// Makes tar archives by hand, also ones that no tar program makes.
enum Archive {
    static let end = [UInt8](repeating: 0, count: 1024)

    static func file(_ name: String, _ content: String, mode: String = "0000644") -> [UInt8] {
        let bytes = Array(content.utf8)
        return header(name, type: "0", size: bytes.count, mode: mode) + bytes + pad(bytes.count)
    }

    static func directory(_ name: String) -> [UInt8] { header(name, type: "5", mode: "0000755") }

    static func symlink(_ name: String, _ target: String) -> [UInt8] { header(name, type: "2", link: target) }

    static func hardLink(_ name: String, _ target: String) -> [UInt8] { header(name, type: "1", link: target) }

    /// An extended header with one record or several.
    static func pax(_ records: [(String, String)], type: Character = "x") -> [UInt8] {
        let text = records.map { key, value in
            var length = key.utf8.count + value.utf8.count + 3
            while "\(length)".utf8.count + key.utf8.count + value.utf8.count + 3 != length { length += 1 }
            return "\(length) \(key)=\(value)\n"
        }.joined()
        return header("PaxHeaders/x", type: type, size: text.utf8.count) + Array(text.utf8) + pad(text.utf8.count)
    }

    static func longName(_ name: String, type: Character = "L") -> [UInt8] {
        let bytes = Array(name.utf8) + [0]
        return header("././@LongLink", type: type, size: bytes.count) + bytes + pad(bytes.count)
    }

    static func header(
        _ name: String, type: Character, size: Int = 0, mode: String = "0000644", link: String = "",
        sizeField: [UInt8]? = nil
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        func put(_ text: [UInt8], _ offset: Int) {
            for (index, byte) in text.enumerated() { bytes[offset + index] = byte }
        }
        put(Array(name.utf8), 0)
        put(Array(mode.utf8), 100)
        put(Array("0000000".utf8), 108)
        put(Array("0000000".utf8), 116)
        let octal = String(size, radix: 8)
        put(sizeField ?? Array((String(repeating: "0", count: 11 - octal.count) + octal).utf8), 124)
        put(Array("14000000000".utf8), 136)
        bytes[156] = type.asciiValue ?? 0
        put(Array(link.utf8), 157)
        put(Array("ustar".utf8), 257)
        put(Array("00".utf8), 263)
        return withChecksum(bytes)
    }

    static func withChecksum(_ header: [UInt8]) -> [UInt8] {
        var bytes = header
        for index in 148..<156 { bytes[index] = UInt8(ascii: " ") }
        let sum = String(bytes.reduce(0) { $0 + Int($1) }, radix: 8)
        let digits = Array((String(repeating: "0", count: 6 - sum.count) + sum).utf8)
        for (index, digit) in digits.enumerated() { bytes[148 + index] = digit }
        bytes[154] = 0
        return bytes
    }

    private static func pad(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: (512 - count % 512) % 512) }
}
