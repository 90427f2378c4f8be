import FastableCore

/// What is wrong with a pattern, as part of a sentence.
struct GlobSyntaxError: Error, Equatable {
    var reason: String
}

/// One piece of a glob.
indirect enum GlobToken: Sendable, Equatable {
    case byte(UInt8)
    /// `?`: any byte but a slash.
    case any
    /// `*`: any bytes but slashes.
    case star
    case set(ByteSet)
    /// `**/` at the beginning: any directories or none.
    case recursivePrefix
    /// `/**` at the end: everything in a directory, but not the directory itself.
    case recursiveSuffix
    /// `/**/`: a slash, or one on each side of any directories.
    case recursiveMiddle
    case alternatives([[GlobToken]])

    var literal: UInt8? { if case .byte(let byte) = self { byte } else { nil } }

    var mayMatchSlash: Bool {
        switch self {
        case .byte(let byte): byte == UInt8(ascii: "/")
        case .any, .star: false
        case .set(let set): set.contains(UInt8(ascii: "/"))
        case .recursivePrefix, .recursiveSuffix, .recursiveMiddle: true
        case .alternatives(let alternatives): alternatives.contains { $0.contains { $0.mayMatchSlash } }
        }
    }
}

/// Which of the 256 bytes.
struct ByteSet: Sendable, Equatable, ExpressibleByArrayLiteral {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    static let all = ByteSet().inverted
    static let slash: ByteSet = [UInt8(ascii: "/")]
    static let notSlash = slash.inverted

    init() {}

    init(arrayLiteral bytes: UInt8...) { for byte in bytes { insert(byte) } }

    static func == (one: ByteSet, other: ByteSet) -> Bool { one.words == other.words }

    func contains(_ byte: UInt8) -> Bool {
        let word =
            switch byte >> 6 {
            case 0: words.0
            case 1: words.1
            case 2: words.2
            default: words.3
            }
        return word >> UInt64(byte & 63) & 1 == 1
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    var inverted: ByteSet {
        var result = self
        result.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return result
    }
}

/// Takes a glob apart exactly as ripgrep does, oddities included.
struct GlobParser {
    private static let slash: Unicode.Scalar = "/"

    private var rest: ArraySlice<Unicode.Scalar>
    private var previous: Unicode.Scalar?
    private var current: Unicode.Scalar?
    /// The pattern itself, and on top of it the alternatives of open braces.
    private var stack: [[GlobToken]] = [[]]

    static func parse(_ text: String) throws(GlobSyntaxError) -> [GlobToken] {
        var parser = GlobParser(rest: Array(text.unicodeScalars)[...])
        while let character = parser.bump() { try parser.take(character) }
        guard parser.stack.count == 1 else { throw GlobSyntaxError(reason: "a ‘{’ has no ‘}’") }
        return parser.stack[0]
    }

    private init(rest: ArraySlice<Unicode.Scalar>) { self.rest = rest }

    private mutating func bump() -> Unicode.Scalar? {
        previous = current
        current = rest.popFirst()
        return current
    }

    private mutating func push(_ token: GlobToken) { stack[stack.count - 1].append(token) }

    private mutating func push(_ character: Unicode.Scalar) {
        for byte in String(Character(character)).utf8 { push(.byte(byte)) }
    }

    private mutating func take(_ character: Unicode.Scalar) throws(GlobSyntaxError) {
        switch character {
        case "?": push(.any)
        case "*": star()
        case "[": try set()
        case "{":
            guard stack.count == 1 else { throw GlobSyntaxError(reason: "braces within braces are not allowed") }
            stack.append([])
        case ",": if stack.count == 1 { push(character) } else { stack.append([]) }
        case "}": try closeBraces()
        case "\\":
            guard let escaped = bump() else { throw GlobSyntaxError(reason: "it ends with ‘\\’") }
            push(escaped)
        default: push(character)
        }
    }

    private mutating func closeBraces() throws(GlobSyntaxError) {
        guard stack.count > 1 else { throw GlobSyntaxError(reason: "a ‘}’ has no ‘{’") }
        // An empty alternative is none.
        let alternatives = stack[1...].filter { !$0.isEmpty }
        stack.removeLast(stack.count - 1)
        if !alternatives.isEmpty { push(.alternatives(alternatives)) }
    }

    /// One star or two; only two that are a whole part of the path cross directories.
    private mutating func star() {
        let before = previous
        guard rest.first == "*" else { return push(.star) }
        _ = bump()
        let isAtBeginning = stack[stack.count - 1].isEmpty
        if isAtBeginning, rest.first.map({ $0 == Self.slash }) ?? true {
            push(.recursivePrefix)
            _ = bump()
            return
        }
        guard !isAtBeginning, before == Self.slash else { return twoStars() }
        let isSuffix: Bool
        switch rest.first {
        case nil: isSuffix = true
        case ",", "}":
            guard stack.count > 1 else { return twoStars() }
            isSuffix = true
        case Self.slash:
            _ = bump()
            isSuffix = false
        default: return twoStars()
        }
        // The slash before it is part of it.
        let last = stack[stack.count - 1].removeLast()
        switch last {
        case .recursivePrefix, .recursiveSuffix: push(last)
        default: push(isSuffix ? .recursiveSuffix : .recursiveMiddle)
        }
    }

    private mutating func twoStars() {
        push(.star)
        push(.star)
    }

    private mutating func set() throws(GlobSyntaxError) {
        let isNegated = rest.first == "!" || rest.first == "^"
        if isNegated { _ = bump() }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        var isFirst = true
        var inRange = false
        while let character = bump() {
            if character == "]", !isFirst {
                // A ‘-’ in the last place is an ordinary character.
                if inRange { ranges.append("-"..."-") }
                return push(.set(Self.bytes(ranges, isNegated)))
            }
            if character == "-", !isFirst, !inRange {
                inRange = true
            } else if inRange, let first = ranges.popLast()?.lowerBound {
                guard first <= character else {
                    throw GlobSyntaxError(reason: "the range ‘\(first)-\(character)’ is empty")
                }
                ranges.append(first...character)
                inRange = false
            } else {
                ranges.append(character...character)
            }
            isFirst = false
        }
        throw GlobSyntaxError(reason: "a ‘[’ has no ‘]’")
    }

    /// A set is of single bytes: of what takes more than one in UTF-8 it holds nothing.
    private static func bytes(_ ranges: [ClosedRange<Unicode.Scalar>], _ isNegated: Bool) -> ByteSet {
        var set = ByteSet()
        for range in ranges where range.lowerBound.value < 0x80 {
            for value in range.lowerBound.value...min(range.upperBound.value, 0x7f) { set.insert(UInt8(value)) }
        }
        return isNegated ? set.inverted : set
    }
}
