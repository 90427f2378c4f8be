import FastableCore
package import NIOCore

/// Puts `*` in the place of each byte of a secret in one output stream, however the stream is cut into pieces. Pure.
///
///     0 ───── clean ───── given on ───── position
///                                  held
///
/// What may be the beginning of an occurrence is held until it is known whether it is one. The number of bytes never changes, so
/// offsets stay those of the command's own output.
package struct SecretRedactor: Sendable {
    private var patterns: SecretPatterns?
    /// Bytes that have been taken.
    package private(set) var position: UInt64
    /// No occurrence crosses this place: who begins again here finds all the same.
    package private(set) var clean: UInt64
    private var held: [UInt8] = []
    private var state: Int32 = 0
    /// Behind the last occurrence.
    private var coveredEnd: UInt64
    /// Bytes to come that are masked whatever they are.
    private var blanket: Int
    private static let mask = UInt8(ascii: "*")

    /// - Parameters:
    ///   - patterns: `nil` when it is not known what the secrets are: everything is masked then.
    ///   - position: where the stream is taken up, a place that was `clean`.
    ///   - mayBeCut: it was not: up to the length of a pattern, what follows may belong to an occurrence that began before.
    package init(_ patterns: SecretPatterns?, position: UInt64 = 0, mayBeCut: Bool = false) {
        self.patterns = patterns
        self.position = position
        clean = position
        coveredEnd = position
        blanket = mayBeCut ? max(0, (patterns?.longest ?? 0) - 1) : 0
    }

    /// Takes the next bytes, and gives on those of which it is known what they are.
    package mutating func take(_ bytes: ByteBuffer) -> ByteBuffer {
        var work = ByteBufferAllocator().buffer(capacity: held.count + bytes.readableBytes)
        work.writeBytes(held)
        work.writeImmutableBuffer(bytes)
        let known = held.count
        position += UInt64(bytes.readableBytes)
        guard let patterns else {
            _ = work.withUnsafeMutableReadableBytes { $0.initializeMemory(as: UInt8.self, repeating: Self.mask) }
            clean = position
            return work
        }
        work.withUnsafeMutableReadableBytes { scan($0.assumingMemoryBound(to: UInt8.self), from: known, patterns) }
        let pending = min(self.pending, work.readableBytes)
        let boundary = position - UInt64(pending)
        if boundary >= coveredEnd { clean = max(clean, boundary) }
        let given = work.readSlice(length: work.readableBytes - pending) ?? ByteBuffer()
        held = Array(work.readableBytesView)
        return given
    }

    private mutating func scan(_ bytes: UnsafeMutableBufferPointer<UInt8>, from known: Int, _ patterns: SecretPatterns)
    {
        let start = position - UInt64(bytes.count)
        var state = state
        var masked = 0..<0
        // The last place where nothing was pending.
        var root = state == 0 ? known : -1
        patterns.nodes.withUnsafeBufferPointer { nodes in
            patterns.first.withUnsafeBufferPointer { first in
                var index = known
                while index < bytes.count {
                    if state == 0 {
                        while index < bytes.count, first[Int(bytes[index])] == 0 { index += 1 }
                        root = index
                        guard index < bytes.count else { break }
                    }
                    state = SecretPatterns.step(state, bytes[index], nodes, first)
                    index += 1
                    let found = Int(nodes[Int(state)].found)
                    guard found > 0 else { continue }
                    let occurrence = max(0, index - found)..<index
                    // Of occurrences that overlap each byte is masked once.
                    let overlaps = masked.contains(occurrence.lowerBound)
                    bytes[(overlaps ? masked.upperBound : occurrence.lowerBound)..<index].update(repeating: Self.mask)
                    masked = (overlaps ? masked.lowerBound : occurrence.lowerBound)..<index
                    coveredEnd = start + UInt64(index)
                }
            }
        }
        if state == 0 { root = bytes.count }
        if root >= 0 { clean = max(clean, start + UInt64(root)) }
        self.state = state
        guard blanket > 0 else { return }
        let count = min(blanket, bytes.count - known)
        bytes[known..<known + count].update(repeating: Self.mask)
        blanket -= count
    }

    /// Looks for other patterns from here on. What may be the beginning of an occurrence is looked through again.
    package mutating func adopt(_ new: SecretPatterns) {
        // Who was held up on the way here must not bring back what others have made out of date.
        guard let old = patterns, old !== new, new.generation >= old.generation else { return }
        let path = old.path(to: state)
        // What stands before it was shown, since it tells little.
        let shown = path.count - held.count
        patterns = new
        state = 0
        new.nodes.withUnsafeBufferPointer { nodes in
            new.first.withUnsafeBufferPointer { first in
                for (index, byte) in path.enumerated() {
                    state = SecretPatterns.step(state, byte, nodes, first)
                    let found = Int(nodes[Int(state)].found)
                    guard found > 0 else { continue }
                    let start = max(shown, index + 1 - found)
                    for masked in start..<max(start, index + 1) { held[masked - shown] = Self.mask }
                    coveredEnd = max(coveredEnd, position - UInt64(path.count - index - 1))
                }
            }
        }
    }

    private var pending: Int { patterns.map { Int($0.nodes[Int(state)].pending) } ?? 0 }

    /// What is held is no longer than a prompt may have in common with a secret.
    package var holdsShortTail: Bool { !held.isEmpty && pending < Limits.secretTailBytes }

    /// Gives on what is held, as far as that tells little; the rest of an occurrence that follows is masked all the same.
    package mutating func letGo() -> ByteBuffer { holdsShortTail ? release() : ByteBuffer() }

    /// The stream has ended: what is held is no occurrence.
    package mutating func finish() -> ByteBuffer {
        state = 0
        // Nothing follows that has to be looked through, and patterns are large.
        patterns = nil
        return release()
    }

    /// The command has ended, and something else may still write to the stream: what is held is masked unless it tells little.
    package mutating func settle() -> ByteBuffer {
        if !holdsShortTail { held = held.map { _ in Self.mask } }
        return release()
    }

    private mutating func release() -> ByteBuffer {
        defer { held = [] }
        return ByteBuffer(bytes: held)
    }
}
