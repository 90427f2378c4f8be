import CLinux

/// The input of a command: what the node has sent, as far as the command has not read it yet.
struct InputStream {
    /// -1 when there is none (any more).
    private(set) var pipe: CInt = -1
    private let isTerminal: Bool
    private var ring: Ring?
    /// Offsets: bytes that arrived, were passed on, and of which the node knows that. `reported ≤ passed ≤ taken`.
    private(set) var taken: UInt64 = 0
    private(set) var passed: UInt64 = 0
    private var reported: UInt64 = 0
    /// Where it ends, once the node has said so.
    private var end: UInt64 = .max
    /// The command has been told that.
    private var hasEnded = false
    /// The byte that was passed on last, -1 before the first.
    private var last: CInt = -1
    /// The command does not read at the moment.
    private(set) var isBlocked = false
    /// Its pipe is watched for room.
    var isWatched = false

    private static let newline: CInt = 10

    private let epoll: CInt

    init() {
        isTerminal = false
        epoll = -1
    }

    init(pipe: CInt, isTerminal: Bool, watchedBy epoll: CInt) {
        self.pipe = pipe
        self.isTerminal = isTerminal
        self.epoll = epoll
    }

    var isOpen: Bool { pipe >= 0 }

    /// How far the node should be told now; few messages, but always one when all has been passed on.
    mutating func report() -> UInt64? {
        guard passed > reported, passed == taken || passed &- reported >= UInt64(Ring.capacity / 4) else { return nil }
        reported = passed
        return passed
    }

    /// Bytes from the node; what came before is skipped. `false` when some are missing or there are more than fit.
    mutating func take(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
        guard offset <= taken else { return false }
        let known = min(taken &- offset, UInt64(bytes.count))
        var rest = UnsafeRawBufferPointer(rebasing: bytes[Int(truncatingIfNeeded: known)...])
        guard UInt64(rest.count) <= UInt64(Ring.capacity) &- (taken &- passed) else { return false }
        if passed == taken, isOpen, !isBlocked { rest = pass(directly: rest) }
        guard keep(rest) else { return false }
        // A pipe that took a part is full now; only a refused write tells that, and only then it is watched.
        if passed < taken, !isBlocked { flush() }
        return true
    }

    /// Most input is passed on at once and needs no memory.
    private mutating func pass(directly bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return bytes }
        let count = write(start, bytes.count)
        taken &+= UInt64(count)
        passed &+= UInt64(count)
        return UnsafeRawBufferPointer(rebasing: bytes[count...])
    }

    private mutating func keep(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return true }
        guard isOpen else {
            taken &+= UInt64(bytes.count)
            passed = taken
            return true
        }
        if ring == nil { ring = Ring() }
        guard let ring else { return false }
        let first = ring.piece(at: taken, length: bytes.count)
        first.copyMemory(from: UnsafeRawBufferPointer(start: start, count: first.count))
        if first.count < bytes.count {
            let second = ring.piece(at: taken &+ UInt64(first.count), length: bytes.count - first.count)
            second.copyMemory(from: UnsafeRawBufferPointer(start: start + first.count, count: second.count))
        }
        taken &+= UInt64(bytes.count)
        return true
    }

    /// The node says where the input ends; repeated after a reconnection. `false` when bytes before it have not come: the command must
    /// not read an end without them.
    mutating func finish(at offset: UInt64) -> Bool {
        guard offset <= taken else { return false }
        end = offset
        flush()
        return true
    }

    /// Passes on what there is, as far as the command takes it.
    mutating func flush() {
        isBlocked = false
        while isOpen, !isBlocked, passed < taken, let ring {
            let piece = ring.piece(at: passed, length: Int(truncatingIfNeeded: taken &- passed))
            guard let start = piece.baseAddress else { break }
            passed &+= UInt64(write(start, piece.count))
        }
        guard passed == taken else { return }
        ring?.free()
        ring = nil
        if isOpen, passed >= end, !hasEnded { tellEnd() }
    }

    private mutating func tellEnd() {
        guard isTerminal else {
            hasEnded = true
            return close()
        }
        // A terminal cannot be closed on one side: the program reads an end of file, as from a keyboard.
        while isOpen, !isBlocked, !hasEnded {
            var character: UInt8 = 0
            let isWithinLine = fastable_terminal_end(pipe, last, &character) > 0
            let told = withUnsafeBytes(of: character) { bytes in bytes.baseAddress.map { write($0, 1) } ?? 0 }
            guard told > 0 else { return }
            last = Self.newline
            hasEnded = !isWithinLine
        }
    }

    /// Bytes that were taken; 0 when the command does not read. One that never will again loses its input.
    private mutating func write(_ start: UnsafeRawPointer, _ count: Int) -> Int {
        let written = fastable_write(pipe, start, count)
        if written > 0 {
            last = CInt(start.load(fromByteOffset: written - 1, as: UInt8.self))
            return written
        }
        if written == Int(FASTABLE_AGAIN) { isBlocked = true } else { close() }
        return 0
    }

    mutating func close() {
        // A terminal is one file with its output's descriptor: while that is open, its watch would stay and never rest.
        if isWatched { _ = fastable_unwatch(epoll, pipe) }
        if pipe >= 0 { _ = fastable_close(pipe) }
        pipe = -1
        isBlocked = false
        isWatched = false
        passed = taken
        ring?.free()
        ring = nil
    }

    /// A new connection is told again how far it came.
    mutating func rewind() { reported = 0 }
}
