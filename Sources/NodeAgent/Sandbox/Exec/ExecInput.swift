package import FastableCore
package import NIOCore

/// What a command is given to read, as the node has it: which bytes came from its writers, and which init has passed on.
/// Pure; the session does what it says.
///
///     0 ───── passed ─────────────── accepted
///       the command has them   kept, in case init did not get them
///
/// `passed ≤ accepted ≤ passed + capacity`.
package struct ExecInput {
    /// Bytes for init with the offset of the first one.
    package struct Piece: Equatable {
        package var offset: UInt64
        package var bytes: ByteBuffer

        package init(offset: UInt64, bytes: ByteBuffer) {
            self.offset = offset
            self.bytes = bytes
        }
    }

    /// What became of bytes that a writer offered.
    package enum Acceptance: Equatable {
        /// All of it is here now, or was before.
        case taken
        /// The rest is to be offered again when there is room.
        case full(rest: ByteBuffer)
    }

    package static let capacity = Limits.initRingBytes
    private static let frameBytes = 64 * 1024

    /// The command takes input, and its end has not been told.
    package private(set) var isOpen: Bool
    package private(set) var accepted: UInt64 = 0
    package private(set) var passed: UInt64 = 0
    /// Where it ends, once a writer has said so.
    package private(set) var end: UInt64?
    /// Bytes from `passed` on, perhaps with some before.
    private var kept: [Piece] = []
    /// What the present connection to init has been given, or need not be.
    private var sent: UInt64 = 0
    private var isEndSent = false

    package init(isOpen: Bool) { self.isOpen = isOpen }

    /// The input of an exec that init holds, after a restart of the daemon. Writers begin at what has arrived.
    package init(isOpen: Bool, arrived: UInt64, passed: UInt64) {
        self.isOpen = isOpen
        accepted = arrived
        sent = arrived
        self.passed = min(passed, arrived)
    }

    package var room: Int { Self.capacity - Int(accepted - passed) }

    /// Takes bytes of a writer, which begin at `offset` (`nil`: behind everything that has come). Those that came before are
    /// skipped.
    ///
    /// - Throws: `conflict` when bytes are missing or the input has ended, `gone` when nobody reads any more.
    package mutating func accept(_ bytes: ByteBuffer, at offset: UInt64?) throws(FastableError) -> Acceptance {
        var bytes = bytes
        let offset = offset ?? accepted
        guard offset <= accepted else { throw missing(before: offset) }
        bytes.moveReaderIndex(forwardBy: Int(min(accepted - offset, UInt64(bytes.readableBytes))))
        guard bytes.readableBytes > 0 else { return .taken }
        guard isOpen else { throw Self.closed }
        let count = min(bytes.readableBytes, room, Self.frameBytes)
        guard count > 0, let part = bytes.readSlice(length: count) else { return .full(rest: bytes) }
        kept.append(Piece(offset: accepted, bytes: part))
        accepted += UInt64(count)
        return bytes.readableBytes == 0 ? .taken : .full(rest: bytes)
    }

    private static let closed = FastableError(
        .conflict, "The command takes no input, or not any more. Start it with openStdin, and end its input only once.")

    /// A writer says that nothing follows, and where that is if it knows. Does nothing when the input has ended.
    ///
    /// - Throws: `conflict` when bytes before `offset` are missing. A command that read an end there would take a part for the whole.
    package mutating func finish(at offset: UInt64?) throws(FastableError) {
        guard isOpen else { return }
        if let offset, offset > accepted { throw missing(before: offset) }
        isOpen = false
        end = accepted
    }

    private func missing(before offset: UInt64) -> FastableError {
        FastableError(
            .conflict,
            "Input up to \(offset) was to have come, but only \(accepted) bytes have. Go on from there.",
            details: ["inputOffset": .integer(Int64(clamping: accepted))])
    }

    /// What init is to be given on the present connection, in this order; the end comes last.
    package mutating func takeUnsent() -> ([Piece], end: UInt64?) {
        let pieces = kept.compactMap { $0.from(sent) }
        sent = accepted
        defer { isEndSent = end != nil }
        return (pieces, isEndSent ? nil : end)
    }

    /// The command has ended: nobody reads what is left.
    package mutating func close() {
        isOpen = false
        kept = []
        passed = accepted
    }

    /// Init has passed on everything before `offset`. `true` when that is news.
    package mutating func passedOn(upTo offset: UInt64) -> Bool {
        guard offset > passed, offset <= accepted else { return false }
        passed = offset
        kept.removeAll { $0.offset + UInt64($0.bytes.readableBytes) <= offset }
        return true
    }

    /// A new connection to init, which has everything before `arrived`; the rest, and the end, are unsent.
    package mutating func reconnected(arrived: UInt64, passed: UInt64) {
        _ = passedOn(upTo: min(passed, accepted))
        sent = min(arrived, accepted)
        isEndSent = false
    }
}

extension ExecInput.Piece {
    /// The part that begins at `start` or later.
    fileprivate func from(_ start: UInt64) -> ExecInput.Piece? {
        let known = start > offset ? start - offset : 0
        guard known < UInt64(bytes.readableBytes) else { return nil }
        var piece = self
        piece.bytes.moveReaderIndex(forwardBy: Int(known))
        piece.offset += known
        return piece
    }
}
