import CLinux

/// One output of a command: its pipe, the ring behind it, and how far reading, sending and storing have come.
struct OutputStream {
    /// What a readable pipe gave.
    enum Filled { case some, full, ended, starved }

    /// -1 when there is none (any more).
    private(set) var pipe: CInt = -1
    private var ring: Ring?
    /// Offsets: bytes taken from the pipe, given to the connection, stored by the node. `stored ≤ sent ≤ taken`.
    private(set) var taken: UInt64 = 0
    private(set) var sent: UInt64 = 0
    private(set) var stored: UInt64 = 0
    /// Bytes that the command and its children had written when it ended.
    private(set) var exitTotal: UInt64 = .max
    /// What a pipe holds unless it was made larger.
    private static let pipeBytes = 64 * 1024
    private var isGrown = false
    /// A terminal tells only when it runs dry how much it held.
    private var settlesWhenDry = false
    let isTerminal: Bool
    private let epoll: CInt
    /// No terminal holds more than this.
    private static let terminalBytes: UInt64 = 128 * 1024
    /// The exit was reported once: what background processes write from now on may be read.
    var exitReported = false
    var endSent = false
    /// Not watched at the moment, because there is no room for more.
    var paused = false

    init() {
        isTerminal = false
        epoll = -1
    }

    init(pipe: CInt, isTerminal: Bool, watchedBy epoll: CInt) {
        self.pipe = pipe
        self.isTerminal = isTerminal
        self.epoll = epoll
    }

    var ended: Bool { pipe < 0 }
    var unsent: Int { Int(truncatingIfNeeded: taken &- sent) }
    /// The exit may be reported as far as this stream goes: everything before it has been sent.
    var settled: Bool { taken >= exitTotal && sent >= exitTotal }

    /// How many bytes may be read now.
    var room: Int {
        let space = Ring.capacity - Int(truncatingIfNeeded: taken &- stored)
        guard !exitReported, exitTotal > taken else { return exitReported ? max(0, space) : 0 }
        return Int(truncatingIfNeeded: min(UInt64(max(0, space)), exitTotal - taken))
    }

    /// Takes what one read gives. The last bytes of an ended pipe come before its end.
    mutating func fill() -> Filled {
        guard pipe >= 0 else { return .ended }
        if ring == nil { ring = Ring() }
        guard let ring else { return .starved }
        let piece = ring.piece(at: taken, length: room)
        guard let memory = piece.baseAddress, piece.count > 0 else { return .full }
        let count = fastable_read(pipe, memory, piece.count)
        if count > 0 {
            taken += UInt64(count)
            if count >= Self.pipeBytes { grow() }
            if settlesWhenDry { settleIfDry() }
            return .some
        }
        if count == Int(FASTABLE_AGAIN) { return .some }
        close()
        return .ended
    }

    /// A pipe that was full belongs to a command that prints a lot: with more room both sides are woken less often.
    private mutating func grow() {
        guard !isGrown, !isTerminal else { return }
        isGrown = true
        fastable_pipe_grow(pipe)
    }

    /// The command has ended: what is in the pipe now still belongs before its exit.
    mutating func settle() {
        if isTerminal, pipe >= 0 {
            settlesWhenDry = true
            exitTotal = taken &+ Self.terminalBytes
            return settleIfDry()
        }
        let pending = pipe < 0 ? 0 : fastable_pending(pipe)
        if pending < 0 { close() }
        exitTotal = taken &+ UInt64(max(0, pending))
    }

    private mutating func settleIfDry() {
        let pending = fastable_pending(pipe)
        guard pending <= 0 else { return }
        settlesWhenDry = false
        exitTotal = taken
        if pending < 0 { close() }
    }

    mutating func close() {
        guard pipe >= 0 else { return }
        // A terminal is one file with its input's descriptor: while that is open, its watch would stay and never rest.
        if isTerminal { _ = fastable_unwatch(epoll, pipe) }
        _ = fastable_close(pipe)
        pipe = -1
        guard settlesWhenDry else { return }
        settlesWhenDry = false
        exitTotal = taken
    }

    /// The next bytes to send, in up to two pieces; they count as sent.
    mutating func next(atMost length: Int) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer) {
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        let count = max(0, min(length, unsent))
        guard let ring, count > 0 else { return (empty, empty) }
        let first = ring.piece(at: sent, length: count)
        let second = ring.piece(at: sent &+ UInt64(first.count), length: count - first.count)
        sent &+= UInt64(count)
        return (UnsafeRawBufferPointer(first), UnsafeRawBufferPointer(second))
    }

    /// The node has stored everything before `offset`. Offsets that were never sent are ignored.
    mutating func store(upTo offset: UInt64) {
        guard offset > stored, offset <= sent else { return }
        stored = offset
    }

    /// A new connection begins with the first byte that is not stored.
    mutating func rewind() {
        sent = stored
        endSent = false
    }

    mutating func free() {
        close()
        ring?.free()
        ring = nil
    }
}
