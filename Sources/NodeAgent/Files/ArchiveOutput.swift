import FastableCompression
import FastableCore

/// Makes an archive of a tree, in pieces.
protocol TreePacking: Sendable {
    /// The next bytes; `nil` after the end.
    mutating func next() throws -> [UInt8]?
}

/// A tree on its way out: packed, and compressed when that is wanted.
struct ArchiveOutput<Packer: TreePacking>: ~Copyable {
    /// What was packed so far.
    private(set) var packer: Packer
    private var encoder: ZstdEncoder?
    private let turn: CompressionTurn?
    private(set) var isAtEnd = false

    init(_ packer: consuming Packer, _ compression: TreeCompression?, _ work: FileWork) throws {
        let turn = compression == nil ? nil : try CompressionTurn.take(of: work)
        encoder = compression == nil ? nil : try ZstdEncoder()
        self.turn = turn
        self.packer = packer
    }

    /// The next bytes. May be nothing before the end: then call again.
    mutating func next() throws -> [UInt8] {
        var output: [UInt8] = []
        var packed = 0
        while output.count < Limits.frameChunkBytes, packed < Limits.zstdStepBytes, !isAtEnd {
            guard let piece = try packer.next() else {
                isAtEnd = true
                try encoder?.finish(into: &output)
                break
            }
            if encoder == nil { return piece }
            packed += piece.count
            try piece.withUnsafeBytes { try encoder?.compress($0, into: &output) }
        }
        return output
    }
}
