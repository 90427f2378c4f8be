import FastableCore

/// A file pattern, with the meaning that ripgrep's `--glob` and git's ignore files give it, byte by byte.
///
/// `*` and `?` stay within one name, `**` crosses directories, `[a-z]` and `[!a-z]` are one byte, `{a,b}` is either, `\` takes the next
/// character as it is. Without `/` the pattern is for the name alone, with one it is for the path from the top. Matching takes time in
/// proportion to path and pattern, whatever they are.
package struct GlobPattern: Sendable {
    /// Most patterns are plain names and endings: those need no automaton.
    private enum Matcher: Sendable {
        case everything
        case path([UInt8])
        case name([UInt8])
        case ending([UInt8])
        case nameProgram(GlobProgram)
        case pathProgram(GlobProgram)
    }

    private let matcher: Matcher

    /// - Parameters:
    ///   - text: without the marks of `IgnoreRule`; `**/` comes first when it is for names.
    /// - Throws: `GlobSyntaxError`.
    init(_ text: String) throws(GlobSyntaxError) {
        let tokens = try GlobParser.parse(text)
        matcher = Self.matcher(tokens)
    }

    private static func matcher(_ tokens: [GlobToken]) -> Matcher {
        if tokens == [.recursivePrefix] { return .everything }
        let literal = tokens.compactMap(\.literal)
        if literal.count == tokens.count { return .path(literal) }
        guard tokens.first == .recursivePrefix else { return .pathProgram(GlobProgram(tokens)) }
        let rest = Array(tokens.dropFirst())
        guard rest.allSatisfy({ !$0.mayMatchSlash }) else { return .pathProgram(GlobProgram(tokens)) }
        if literal.count == rest.count { return .name(literal) }
        if rest.first == .star, literal.count == rest.count - 1 { return .ending(literal) }
        return .nameProgram(GlobProgram(rest))
    }

    /// - Parameter path: relative, without `.` and `..`.
    func matches(_ path: ArraySlice<UInt8>) -> Bool {
        switch matcher {
        case .everything: return true
        case .path(let wanted): return path.elementsEqual(wanted)
        case .name(let wanted): return Self.name(of: path).elementsEqual(wanted)
        case .ending(let wanted): return Self.name(of: path).ends(with: wanted)
        case .nameProgram(let program): return program.matches(Self.name(of: path))
        case .pathProgram(let program): return program.matches(path)
        }
    }

    private static func name(of path: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        path.lastIndex(of: UInt8(ascii: "/")).map { path[($0 + 1)...] } ?? path
    }
}

extension ArraySlice<UInt8> {
    fileprivate func ends(with ending: [UInt8]) -> Bool {
        count >= ending.count && suffix(ending.count).elementsEqual(ending)
    }
}

/// A glob as an automaton: a path is read once, and all ways through the pattern are followed side by side.
struct GlobProgram: Sendable {
    private enum Step: Sendable {
        case set(ByteSet)
        /// Goes on at both places.
        case split(Int, Int)
        case jump(Int)
        case match
    }

    private var steps: [Step] = []

    init(_ tokens: [GlobToken]) {
        compile(tokens)
        steps.append(.match)
    }

    private mutating func compile(_ tokens: [GlobToken]) {
        for token in tokens {
            switch token {
            case .byte(let byte): steps.append(.set([byte]))
            case .any: steps.append(.set(.notSlash))
            case .set(let set): steps.append(.set(set))
            case .star: repeated(.notSlash)
            case .recursivePrefix: anyDirectories()
            case .recursiveSuffix:
                steps.append(.set(.slash))
                repeated(.all)
            case .recursiveMiddle:
                steps.append(.set(.slash))
                anyDirectories()
            case .alternatives(let alternatives): compile(oneOf: alternatives)
            }
        }
    }

    /// Nothing, or whatever ends with a slash.
    private mutating func anyDirectories() {
        let start = steps.count
        steps.append(.split(start + 1, start + 5))
        repeated(.all)
        steps.append(.set(.slash))
    }

    private mutating func repeated(_ set: ByteSet) {
        let start = steps.count
        steps.append(.split(start + 1, start + 3))
        steps.append(.set(set))
        steps.append(.jump(start))
    }

    private mutating func compile(oneOf alternatives: [[GlobToken]]) {
        var jumps: [Int] = []
        for (index, alternative) in alternatives.enumerated() {
            let split = steps.count
            steps.append(.split(split + 1, 0))
            compile(alternative)
            jumps.append(steps.count)
            steps.append(.jump(0))
            // After the last alternative there is no other way.
            let isLast = index == alternatives.count - 1
            steps[split] = isLast ? .jump(split + 1) : .split(split + 1, steps.count)
        }
        for jump in jumps { steps[jump] = .jump(steps.count) }
    }

    func matches(_ text: ArraySlice<UInt8>) -> Bool {
        var threads = Threads(steps.count)
        var next = Threads(steps.count)
        var waiting: [Int] = []
        follow(0, &threads, &waiting)
        for byte in text {
            next.clear()
            for index in threads.list {
                if case .set(let set) = steps[index], set.contains(byte) { follow(index + 1, &next, &waiting) }
            }
            swap(&threads, &next)
            if threads.list.isEmpty { return false }
        }
        return threads.list.contains { if case .match = steps[$0] { true } else { false } }
    }

    /// The steps that may come next, each once.
    private struct Threads {
        var list: [Int] = []
        var seen: [Bool]

        init(_ count: Int) { seen = [Bool](repeating: false, count: count) }

        mutating func clear() {
            list.removeAll(keepingCapacity: true)
            for index in seen.indices { seen[index] = false }
        }
    }

    private func follow(_ start: Int, _ threads: inout Threads, _ waiting: inout [Int]) {
        waiting.append(start)
        while let index = waiting.popLast() {
            guard !threads.seen[index] else { continue }
            threads.seen[index] = true
            switch steps[index] {
            case .split(let first, let second): waiting += [second, first]
            case .jump(let target): waiting.append(target)
            case .set, .match: threads.list.append(index)
            }
        }
    }
}
