package import FoundationEssentials
package import NIOCore

/// Writes JSON by hand where a part is JSON already or plain text: large output is copied once and never decoded.
extension ByteBuffer {
    /// Appends a JSON string with these bytes. They must be valid UTF-8.
    package mutating func writeJSONString(_ bytes: UnsafeRawBufferPointer) {
        // Counted first, so that the buffer grows once and the second pass only stores.
        var length = bytes.count + 2
        for byte in bytes { length += JSONEscape.extraBytes(byte) }
        writeWithUnsafeMutableBytes(minimumWritableBytes: length) { target in
            target[0] = UInt8(ascii: "\"")
            var position = 1
            for byte in bytes {
                if JSONEscape.extraBytes(byte) == 0 {
                    target[position] = byte
                    position += 1
                } else {
                    position = JSONEscape.write(byte, to: target, at: position)
                }
            }
            target[position] = UInt8(ascii: "\"")
            return length
        }
    }

    package mutating func writeJSONString(_ text: String) {
        var text = text
        text.withUTF8 { writeJSONString(UnsafeRawBufferPointer($0)) }
    }

    package mutating func writeJSONString(_ text: Data) {
        text.withUnsafeBytes { writeJSONString($0) }
    }

    package mutating func writeJSONString(_ text: ByteBuffer) {
        text.withUnsafeReadableBytes { writeJSONString($0) }
    }
}

/// How single bytes are written in a JSON string.
private enum JSONEscape {
    /// How many bytes more than itself it takes; 0 for what stands for itself.
    static func extraBytes(_ byte: UInt8) -> Int {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), 0x08, 0x09, 0x0a, 0x0c, 0x0d: 1
        case 0..<0x20: 5
        default: 0
        }
    }

    /// Gives the position behind what was written.
    static func write(_ byte: UInt8, to target: UnsafeMutableRawBufferPointer, at position: Int) -> Int {
        target[position] = UInt8(ascii: "\\")
        guard extraBytes(byte) > 1 else {
            target[position + 1] = letter(byte)
            return position + 2
        }
        target[position + 1] = UInt8(ascii: "u")
        target[position + 2] = UInt8(ascii: "0")
        target[position + 3] = UInt8(ascii: "0")
        target[position + 4] = UInt8(ascii: "0") + (byte >> 4)
        let low = byte & 15
        target[position + 5] = low < 10 ? UInt8(ascii: "0") + low : UInt8(ascii: "a") + low - 10
        return position + 6
    }

    private static func letter(_ byte: UInt8) -> UInt8 {
        switch byte {
        case 0x08: UInt8(ascii: "b")
        case 0x09: UInt8(ascii: "t")
        case 0x0a: UInt8(ascii: "n")
        case 0x0c: UInt8(ascii: "f")
        case 0x0d: UInt8(ascii: "r")
        default: byte
        }
    }
}
