import FastableCompression
import FastableCore

/// A tree on its way out: packed, and compressed when that is wanted.
struct ArchiveOutput: ~Copyable {
    private var packer: TreePacker
    private var encoder: ZstdEncoder?
    private let turn: CompressionTurn?
    private(set) var isAtEnd = false

    init(_ packer: consuming TreePacker, _ compression: TreeCompression?) throws {
        let turn = compression == nil ? nil : try CompressionTurn.take()
        encoder = compression == nil ? nil : try ZstdEncoder()
        self.turn = turn
        self.packer = packer
    }

    /// What was packed so far.
    var result: TreeResult { packer.result }

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
