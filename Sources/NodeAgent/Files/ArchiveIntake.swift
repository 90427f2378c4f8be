import FastableCompression
import FastableCore

/// What comes of an archive on its way to the disk: expanded when it is compressed, then unpacked.
struct ArchiveIntake: ~Copyable {
    /// Makes a plain archive of a compressed one.
    struct Expansion: ~Copyable {
        private let turn: CompressionTurn
        fileprivate var decoder: ZstdDecoder

        init(_ work: FileWork) throws {
            let turn = try CompressionTurn.take(of: work)
            decoder = try ZstdDecoder()
            self.turn = turn
        }
    }

    private var unpacker: TreeUnpacker
    private var expansion: Expansion?
    private var archiveBytes = 0

    init(_ unpacker: consuming TreeUnpacker, _ expansion: consuming Expansion?) {
        self.unpacker = unpacker
        self.expansion = expansion
    }

    /// Takes bytes. What is compressed waits for `goOn`.
    mutating func take(_ bytes: [UInt8]) throws {
        if expansion == nil { try unpack(bytes[...]) } else { expansion?.decoder.append(bytes) }
    }

    /// Unpacks some of what was taken; `false` when nothing is left of it.
    mutating func goOn() throws -> Bool {
        let end = archiveBytes + Limits.zstdStepBytes
        while archiveBytes < end {
            guard let part = try expansion?.decoder.next() else { return false }
            try unpack(part)
        }
        return true
    }

    /// Ends the archive; its bytes are on the disk then.
    mutating func finish() throws -> TreeResult {
        guard expansion?.decoder.isComplete ?? true else {
            throw FastableError(.invalid, "The compressed archive ends too early. Send it again.")
        }
        return try unpacker.finish()
    }

    /// Lets go of the entry that was begun.
    mutating func abandon() { unpacker.abandon() }

    private mutating func unpack(_ bytes: ArraySlice<UInt8>) throws {
        archiveBytes += bytes.count
        guard archiveBytes <= Limits.treeBytes else {
            throw FastableError(
                .tooLarge, "The archive is larger than \(Limits.treeBytes) bytes, which is the most.",
                details: ["limit": .integer(Int64(Limits.treeBytes))])
        }
        try unpacker.feed(bytes)
    }
}
