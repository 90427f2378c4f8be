package import FastableCore
package import NIOCore

/// One output stream of an exec as the node has it: which bytes there are, and where. Pure; the session does what it says.
///
///     0 ─── floor ─────────────── written ───── head ───── received
///       dropped    in the spool file     in memory    held back
///
/// `floor ≤ written ≤ head ≤ received`, and the file never holds more than `capacity` bytes. Bytes are held back, and
/// not acknowledged to init, while older ones that somebody needs would have to go for them.
package struct ExecLog {
    /// Where a reader finds its next bytes.
    package enum Place: Equatable {
        case memory(ByteBuffer)
        case file(offset: UInt64, count: Int)
        /// The bytes up to here are gone.
        case dropped(upTo: UInt64)
        case nothing
    }

    /// Bytes with the offset of the first one.
    package struct Chunk: Equatable {
        package var offset: UInt64
        package var bytes: ByteBuffer
        var end: UInt64 { offset + UInt64(bytes.readableBytes) }
    }

    package let capacity: Int
    package private(set) var floor: UInt64
    package private(set) var written: UInt64
    package private(set) var head: UInt64
    package private(set) var received: UInt64
    package private(set) var acknowledged: UInt64
    /// Nothing more will come.
    package private(set) var ended = false
    /// Present when the command, or one that runs beside it, has secrets. `received` counts what it has given on.
    private var redactor: SecretRedactor?
    /// The first byte that the file has or may have: what came before was lost when the disk was full.
    private var fileStart: UInt64
    /// The disk did not take what was admitted last; it is to be written again, and nothing more is admitted before.
    package private(set) var isStuck = false
    /// Ends at `head`, and begins at `written` or before.
    private var recent: [Chunk] = []
    private var heldBack: [Chunk] = []
    private static let smallBytes = 16 * 1024
    /// Chunks in memory beside those that are still to be written.
    private static let recentChunks = 64

    /// A stream whose bytes before `stored` are in the file already, as far as it keeps them; it has none from before `fileStart`.
    package init(
        capacity: Int = Limits.execOutputKeptBytes, stored: UInt64 = 0, fileStart: UInt64 = 0,
        redactor: SecretRedactor? = nil
    ) {
        self.capacity = capacity
        self.redactor = redactor
        self.fileStart = min(fileStart, stored)
        floor = max(self.fileStart, stored > UInt64(capacity) ? stored - UInt64(capacity) : 0)
        written = stored
        head = stored
        received = stored
        acknowledged = stored
    }

    package var isHoldingBack: Bool { !heldBack.isEmpty || isStuck }

    /// Bytes from init. What came before, and was sent again, is skipped; `invalid` when some are missing, or
    /// when it sends more than it can have.
    package mutating func receive(_ bytes: ByteBuffer, at offset: UInt64) throws(FastableError) {
        let expected = redactor?.position ?? received
        let known = offset <= expected ? expected - offset : .max
        if known != .max, known >= UInt64(bytes.readableBytes) { return }
        guard known != .max, !ended else {
            throw FastableError(
                .invalid, "The container's init skipped some output.", context: "\(offset) ≠ \(expected)")
        }
        // Until it is told that bytes are stored, it has to keep them. So no more than that is ever held back here.
        let end = offset + UInt64(bytes.readableBytes)
        guard end <= acknowledged + UInt64(Limits.initRingBytes) else {
            throw FastableError(
                .invalid, "The container's init sent more output than it can keep.",
                context: "\(end) with \(acknowledged) acknowledged")
        }
        var bytes = bytes
        bytes.moveReaderIndex(forwardBy: Int(known))
        append(redactor?.take(bytes) ?? bytes)
    }

    private mutating func append(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        var bytes = bytes
        let start = received
        received += UInt64(bytes.readableBytes)
        if let last = heldBack.indices.last, heldBack[last].bytes.readableBytes < Self.smallBytes {
            heldBack[last].bytes.writeBuffer(&bytes)
            return
        }
        // A few bytes would keep the whole buffer alive that they were received in.
        if bytes.readableBytes < Self.smallBytes { bytes = ByteBuffer(bytes.readableBytesView) }
        heldBack.append(Chunk(offset: start, bytes: bytes))
    }

    package mutating func end() {
        ended = true
        if let rest = redactor?.finish() { append(rest) }
    }

    /// From here on these secrets are looked for, those of other commands too.
    package mutating func mask(_ patterns: SecretPatterns) {
        guard !ended else { return }
        if redactor == nil { redactor = SecretRedactor(patterns, position: received) }
        redactor?.adopt(patterns)
    }

    /// Something may be held until it is known whether it belongs to a secret.
    package var isMasked: Bool { redactor != nil }

    /// The command has ended; what its background processes print may still come.
    package mutating func settle() {
        if let rest = redactor?.settle() { append(rest) }
    }

    /// A short tail is held that could be the beginning of a secret.
    package var holdsShortTail: Bool { redactor?.holdsShortTail ?? false }
    /// How far init's bytes have been taken.
    package var taken: UInt64 { redactor?.position ?? received }

    package mutating func letGo() {
        if let tail = redactor?.letGo() { append(tail) }
    }

    /// Makes bytes readable, as long as those from `needed` on can be kept (`nil`: nobody needs any). The result is to be written.
    package mutating func admit(needed: UInt64?) -> [Chunk] {
        guard !isStuck else { return recent.filter { $0.end > written } }
        var admitted: [Chunk] = []
        while let chunk = heldBack.first {
            let lowest = chunk.end > UInt64(capacity) ? chunk.end - UInt64(capacity) : 0
            if let needed, needed < lowest { break }
            heldBack.removeFirst()
            recent.append(chunk)
            admitted.append(chunk)
            head = chunk.end
            floor = max(floor, lowest)
        }
        return admitted
    }

    /// All that was admitted is in the file; `keepRecent` bytes stay in memory for readers that are nearly there.
    package mutating func wrote(keepRecent: Int) {
        isStuck = false
        written = head
        trim(keepRecent)
    }

    /// The disk is full. While somebody needs the bytes, they are kept and written again, and the command is slowed down. Otherwise they
    /// are lost with all that the file had: the answer is where a new file begins.
    package mutating func writingFailed(isNeeded: Bool, keepRecent: Int) -> UInt64? {
        isStuck = isNeeded
        guard !isNeeded else { return nil }
        written = head
        fileStart = head
        trim(keepRecent)
        return fileStart
    }

    private mutating func trim(_ keepRecent: Int) {
        while let first = recent.first, first.end <= written,
            first.end + UInt64(keepRecent) <= head || recent.count > Self.recentChunks
        {
            recent.removeFirst()
        }
        if floor < fileStart { floor = max(floor, min(fileStart, recent.first?.offset ?? head)) }
    }

    /// The offset to acknowledge now, or `nil` while it is not worth a message. Where a later daemon would begin, no occurrence of a
    /// secret is cut, unless `mayCut`.
    package mutating func acknowledgement(step: Int, mayCut: Bool = false) -> UInt64? {
        let end = mayCut ? written : min(written, redactor?.clean ?? written)
        guard end >= acknowledged, end - acknowledged >= UInt64(step) else { return nil }
        acknowledged = end
        return end
    }

    /// Occurrences of secrets follow each other so closely that there is no place between them, and init runs out of room.
    package func mustCut(step: Int) -> Bool { redactor != nil && written - acknowledged >= UInt64(2 * step) }

    /// A new connection to init, which has everything before `stored` off its hands.
    package mutating func reconnected(stored: UInt64) { acknowledged = min(stored, written) }

    /// Where the bytes at `cursor` are, at most `count` of them and none behind `limit`.
    package func place(of cursor: UInt64, upTo limit: UInt64, count: Int) -> Place {
        let end = min(head, limit)
        guard cursor < end else { return .nothing }
        guard cursor >= floor else { return .dropped(upTo: min(floor, end)) }
        if let first = recent.first, cursor >= first.offset, let chunk = recent.last(where: { $0.offset <= cursor }) {
            var bytes = chunk.bytes
            bytes.moveReaderIndex(forwardBy: Int(cursor - chunk.offset))
            let most = min(UInt64(bytes.readableBytes), end - cursor)
            return .memory(bytes.readSlice(length: Int(most)) ?? ByteBuffer())
        }
        return .file(offset: cursor, count: Int(min(UInt64(count), min(written, end) - cursor)))
    }
}
