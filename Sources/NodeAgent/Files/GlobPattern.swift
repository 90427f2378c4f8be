import FastableCore

/// A file pattern, with the meaning that ripgrep's `--glob` gives it.
///
/// `*` and `?` stay within one name, `**` crosses directories, `[a-z]` and `[!a-z]` are one character, `{a,b}` is either,
/// `\` takes the next character as it is. Without `/` the pattern is for the name alone, with one it is for the path from the top.
/// A leading `!` turns the meaning round. Matching takes time in proportion to path and pattern, whatever they are.
package struct GlobPattern: Sendable {
    enum Step: Sendable {
        case character(Unicode.Scalar)
        /// Any character but `/`.
        case any
        /// Any character.
        case anything
        case set([ClosedRange<Unicode.Scalar>], negated: Bool)
        /// Goes on at both places.
        case split(Int, Int)
        case jump(Int)
        case match
    }

    private let steps: [Step]
    private let isNegated: Bool

    /// - Throws: `invalid` naming `field` when the pattern is not well formed.
    package init(_ text: String, field: String) throws {
        guard text.utf8.count <= Limits.searchPatternBytes else {
            throw FastableError(
                .tooLarge, "The field ‘\(field)’ is longer than \(Limits.searchPatternBytes) bytes.",
                details: ["field": .string(field), "limit": .integer(Int64(Limits.searchPatternBytes))])
        }
        var rest = Array(text.unicodeScalars)[...]
        isNegated = rest.first == "!"
        if isNegated { rest.removeFirst() }
        var compiler = GlobCompiler(field: field)
        steps = try compiler.compile(rest)
    }

    package func matches(_ path: String) -> Bool {
        var threads = ThreadSet(steps.count)
        add(0, to: &threads)
        for character in path.unicodeScalars {
            var next = ThreadSet(steps.count)
            for index in threads.list where accepts(steps[index], character) { add(index + 1, to: &next) }
            threads = next
            if threads.list.isEmpty { break }
        }
        let matched = threads.list.contains { if case .match = steps[$0] { true } else { false } }
        return matched != isNegated
    }

    /// The steps that may come next, each once.
    private struct ThreadSet {
        var list: [Int] = []
        var seen: [Bool]
        init(_ count: Int) { seen = [Bool](repeating: false, count: count) }
    }

    private func add(_ start: Int, to threads: inout ThreadSet) {
        var waiting = [start]
        while let index = waiting.popLast() {
            guard !threads.seen[index] else { continue }
            threads.seen[index] = true
            switch steps[index] {
            case .split(let first, let second): waiting += [second, first]
            case .jump(let target): waiting.append(target)
            case .character, .any, .anything, .set, .match: threads.list.append(index)
            }
        }
    }

    private func accepts(_ step: Step, _ character: Unicode.Scalar) -> Bool {
        switch step {
        case .character(let wanted): character == wanted
        case .any: character != "/"
        case .anything: true
        case .set(let ranges, let negated): character != "/" && ranges.contains { $0.contains(character) } != negated
        case .split, .jump, .match: false
        }
    }
}

/// Turns the text of a pattern into steps.
private struct GlobCompiler {
    let field: String
    private var steps: [GlobPattern.Step] = []

    init(field: String) { self.field = field }

    mutating func compile(_ text: ArraySlice<Unicode.Scalar>) throws -> [GlobPattern.Step] {
        var text = text
        guard !text.isEmpty else { throw malformed("it is empty") }
        let isAnchored = text.contains("/")
        if text.first == "/" { text.removeFirst() }
        if !isAnchored { anyDirectories() }
        try sequence(&text, inBraces: false)
        steps.append(.match)
        return steps
    }

    private func malformed(_ why: String) -> FastableError {
        FastableError(
            .invalid, "The field ‘\(field)’ is not a valid file pattern: \(why).", details: ["field": .string(field)])
    }

    /// `(.*/)?`
    private mutating func anyDirectories() {
        let start = steps.count
        steps.append(.split(start + 1, start + 5))
        steps.append(.split(start + 2, start + 4))
        steps.append(.anything)
        steps.append(.jump(start + 1))
        steps.append(.character("/"))
    }

    private mutating func repeated(_ step: GlobPattern.Step) {
        let start = steps.count
        steps.append(.split(start + 1, start + 3))
        steps.append(step)
        steps.append(.jump(start))
    }

    /// One sequence, up to the end of the pattern or of an alternative in braces.
    private mutating func sequence(_ text: inout ArraySlice<Unicode.Scalar>, inBraces: Bool) throws {
        var atNameStart = !inBraces
        while let character = text.first {
            if inBraces && (character == "," || character == "}") { return }
            text.removeFirst()
            let wasAtNameStart = atNameStart
            atNameStart = character == "/"
            switch character {
            case "*": atNameStart = stars(&text, wasAtNameStart)
            case "?": steps.append(.any)
            case "[": try set(&text)
            case "{":
                guard !inBraces else { throw malformed("braces within braces are not allowed") }
                try alternatives(&text)
            case "}": throw malformed("a ‘}’ has no ‘{’")
            case "\\":
                guard let escaped = text.popFirst() else { throw malformed("it ends with ‘\\’") }
                steps.append(.character(escaped))
            default: steps.append(.character(character))
            }
        }
        if inBraces { throw malformed("a ‘{’ has no ‘}’") }
    }

    /// One or more stars, the first of which is read; answers whether a name begins after them.
    private mutating func stars(_ text: inout ArraySlice<Unicode.Scalar>, _ atNameStart: Bool) -> Bool {
        guard text.first == "*" else {
            repeated(.any)
            return false
        }
        let rest = text.drop { $0 == "*" }
        let isDouble = text.count - rest.count == 1
        text = rest
        if isDouble, atNameStart, rest.isEmpty {
            // Everything in a directory, but not the directory itself.
            steps.append(.anything)
            repeated(.anything)
            return false
        }
        if isDouble, atNameStart, rest.first == "/" {
            text.removeFirst()
            anyDirectories()
            return true
        }
        repeated(.any)
        return false
    }

    private mutating func alternatives(_ text: inout ArraySlice<Unicode.Scalar>) throws {
        var jumps: [Int] = []
        while true {
            let split = steps.count
            steps.append(.split(split + 1, 0))
            try sequence(&text, inBraces: true)
            jumps.append(steps.count)
            steps.append(.jump(0))
            let isLast = text.popFirst() == "}"
            // After the last alternative there is no other way.
            steps[split] = isLast ? .jump(split + 1) : .split(split + 1, steps.count)
            if isLast { break }
        }
        for jump in jumps { steps[jump] = .jump(steps.count) }
    }

    private mutating func set(_ text: inout ArraySlice<Unicode.Scalar>) throws {
        let negated = text.first == "!" || text.first == "^"
        if negated { text.removeFirst() }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while let first = text.popFirst() {
            // A ‘]’ in the first place is an ordinary character.
            if first == "]" && !ranges.isEmpty {
                steps.append(.set(ranges, negated: negated))
                return
            }
            var last = first
            if text.first == "-", let end = text.dropFirst().first, end != "]" {
                text = text.dropFirst(2)
                last = end
            }
            guard first <= last else { throw malformed("the range ‘\(first)-\(last)’ is empty") }
            ranges.append(first...last)
        }
        throw malformed("a ‘[’ has no ‘]’")
    }
}
