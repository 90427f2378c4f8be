import FoundationEssentials

/// All forms of a command's secrets, as one automaton (Aho and Corasick) that finds every occurrence in a single pass, overlapping
/// ones too. Its size is that of the forms together, whatever bytes they have.
package final class SecretPatterns: Sendable {
    struct Node {
        var byte: UInt8 = 0
        var parent: Int32 = 0
        var firstChild: Int32 = 0
        var sibling: Int32 = 0
        /// The state of the longest proper suffix that begins a pattern.
        var suffix: Int32 = 0
        var depth: Int32 = 0
        /// Bytes of the longest pattern that ends here; 0 when none does.
        var found: Int32 = 0
        /// Bytes at the end of what was read that may be the beginning of a longer occurrence.
        var pending: Int32 = 0
    }

    /// The root comes first.
    let nodes: [Node]
    /// The state behind the first byte of a pattern; the root for all other bytes.
    let first: [Int32]
    let longest: Int
    /// Of several that are built for one container the later ones count more.
    let generation: Int

    package init(_ patterns: some Sequence<[UInt8]>, generation: Int = 0) {
        self.generation = generation
        var nodes = [Node()]
        for pattern in patterns where !pattern.isEmpty {
            var state: Int32 = 0
            for byte in pattern { state = Self.child(of: state, byte, &nodes) }
            nodes[Int(state)].found = Int32(pattern.count)
        }
        var first = [Int32](repeating: 0, count: 256)
        var child = nodes[0].firstChild
        while child != 0 {
            first[Int(nodes[Int(child)].byte)] = child
            child = nodes[Int(child)].sibling
        }
        longest = nodes.reduce(0) { max($0, Int($1.found)) }
        Self.link(&nodes, first)
        self.nodes = nodes
        self.first = first
    }

    private static func child(of state: Int32, _ byte: UInt8, _ nodes: inout [Node]) -> Int32 {
        var child = nodes[Int(state)].firstChild
        while child != 0 {
            if nodes[Int(child)].byte == byte { return child }
            child = nodes[Int(child)].sibling
        }
        let new = Int32(nodes.count)
        let parent = nodes[Int(state)]
        nodes.append(Node(byte: byte, parent: state, sibling: parent.firstChild, depth: parent.depth + 1))
        nodes[Int(state)].firstChild = new
        return new
    }

    /// Level by level, since a suffix is shorter than what it ends.
    private static func link(_ nodes: inout [Node], _ first: [Int32]) {
        var level: [Int32] = [0]
        while !level.isEmpty {
            var next: [Int32] = []
            for state in level {
                var child = nodes[Int(state)].firstChild
                while child != 0 {
                    let byte = nodes[Int(child)].byte
                    let suffix =
                        state == 0
                        ? 0
                        : nodes.withUnsafeBufferPointer { nodes in
                            first.withUnsafeBufferPointer { step(nodes[Int(state)].suffix, byte, nodes, $0) }
                        }
                    nodes[Int(child)].suffix = suffix
                    nodes[Int(child)].found = max(nodes[Int(child)].found, nodes[Int(suffix)].found)
                    nodes[Int(child)].pending =
                        nodes[Int(child)].firstChild == 0 ? nodes[Int(suffix)].pending : nodes[Int(child)].depth
                    next.append(child)
                    child = nodes[Int(child)].sibling
                }
            }
            level = next
        }
    }

    /// The state behind one more byte.
    @inline(__always)
    static func step(
        _ state: Int32, _ byte: UInt8, _ nodes: UnsafeBufferPointer<Node>, _ first: UnsafeBufferPointer<Int32>
    ) -> Int32 {
        var state = state
        while state != 0 {
            var child = nodes[Int(state)].firstChild
            while child != 0 {
                if nodes[Int(child)].byte == byte { return child }
                child = nodes[Int(child)].sibling
            }
            state = nodes[Int(state)].suffix
        }
        return first[Int(byte)]
    }

    /// The bytes that lead to a state: the last ones of what was read.
    func path(to state: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        var state = state
        while state != 0 {
            bytes.append(nodes[Int(state)].byte)
            state = nodes[Int(state)].parent
        }
        return bytes.reversed()
    }

    // MARK: forms

    /// A secret's own bytes, and how programs commonly write them: as a terminal prints their lines, in JSON, percent-encoded, and
    /// as base64, also in the middle of a longer text.
    package static func forms(of secret: [UInt8]) -> Set<[UInt8]> {
        var forms: Set = [secret, replacing(secret) { $0 == 0x0a ? [0x0d, 0x0a] : [$0] }, replacing(secret, json)]
        for kept in ["", "!*'()", "/"] {
            for digits in ["0123456789ABCDEF", "0123456789abcdef"] {
                let digits = Array(digits.utf8)
                forms.insert(replacing(secret) { percent($0, keeping: kept, digits) })
                forms.insert(
                    replacing(secret) { $0 == 0x20 ? [UInt8(ascii: "+")] : percent($0, keeping: kept, digits) })
            }
        }
        for shift in 0..<3 {
            let text = base64(secret, shift: shift)
            forms.insert(text)
            forms.insert(
                replacing(text) {
                    [$0 == UInt8(ascii: "+") ? UInt8(ascii: "-") : $0 == UInt8(ascii: "/") ? UInt8(ascii: "_") : $0]
                })
        }
        return forms
    }

    private static func replacing(_ bytes: [UInt8], _ replace: (UInt8) -> [UInt8]) -> [UInt8] { bytes.flatMap(replace) }

    private static func json(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case 0x0a: Array(#"\n"#.utf8)
        case 0x0d: Array(#"\r"#.utf8)
        case 0x09: Array(#"\t"#.utf8)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): [UInt8(ascii: "\\"), byte]
        default: [byte]
        }
    }

    private static func percent(_ byte: UInt8, keeping others: String, _ digits: [UInt8]) -> [UInt8] {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            [byte]
        case _ where others.utf8.contains(byte): [byte]
        default: [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }

    /// The characters that depend on nothing but the secret when `shift` bytes stand before it.
    private static func base64(_ secret: [UInt8], shift: Int) -> [UInt8] {
        let text = Array(Data([UInt8](repeating: 0, count: shift) + secret).base64EncodedString().utf8)
        let whole = (shift + secret.count) * 8 / 6
        return Array(text[(shift == 0 ? 0 : shift + 1)..<whole])
    }
}
