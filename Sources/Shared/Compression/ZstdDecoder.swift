import CZstd
import FastableCore

/// Expands Zstandard frames (RFC 8878) that arrive in pieces of any size, in constant memory. Its input is hostile.
///
/// Whoever calls `next` decides how much it expands: a few bytes can stand for gigabytes.
public struct ZstdDecoder: ~Copyable, @unchecked Sendable {
    // Sendable: the context has one owner, and only `mutating` calls touch it.
    private let context: OpaquePointer
    private var input: [UInt8] = []
    private var position = 0
    private var output = [UInt8](repeating: 0, count: ZSTD_DStreamOutSize())
    /// The first bytes of a frame, as far as they have come; empty within a frame.
    private var magic: [UInt8] = []
    private var isBetweenFrames = true
    /// The last call filled the output, so that the context may hold more.
    private var holdsMore = false

    public init() throws {
        guard let context = ZSTD_createDCtx() else { throw Zstd.outOfMemory }
        self.context = context
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, CInt(Limits.zstdWindowLog))
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Whether everything that was appended makes whole frames.
    public var isComplete: Bool { isBetweenFrames && magic.isEmpty && position == input.count }

    /// Adds compressed bytes; what came before must have been taken with `next`.
    public mutating func append(_ bytes: [UInt8]) {
        input = position == input.count ? bytes : Array(input[position...]) + bytes
        position = 0
    }

    /// The next expanded bytes, not many; `nil` when more has to be appended first.
    ///
    /// - Throws: `invalid` when the bytes are damaged or no Zstandard at all, `too_large` when they need too large a window.
    public mutating func next() throws -> ArraySlice<UInt8>? {
        while holdsMore || position < input.count {
            let count: Int
            if isBetweenFrames {
                guard let magic = try takeMagic() else { return nil }
                count = try expand(magic).produced
            } else {
                let step = try expand(input, from: position)
                position = step.position
                count = step.produced
            }
            if count > 0 { return output[..<count] }
        }
        return nil
    }

    /// A frame's first bytes. The library would also take formats of its youth, whose decoders nobody looks after.
    private mutating func takeMagic() throws -> [UInt8]? {
        while magic.count < 4, position < input.count {
            magic.append(input[position])
            position += 1
        }
        guard magic.count == 4 else { return nil }
        let number = magic.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard number == Zstd.magic || number & Zstd.skippableMask == Zstd.skippable else { throw Zstd.notZstd }
        defer { magic = [] }
        return magic
    }

    private mutating func expand(_ bytes: [UInt8], from start: Int = 0) throws -> (produced: Int, position: Int) {
        let context = context
        let (rest, produced, position) = bytes.withUnsafeBytes { bytes in
            output.withUnsafeMutableBytes { output in
                var source = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: start)
                var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
                let rest = ZSTD_decompressStream(context, &target, &source)
                return (rest, target.pos, source.pos)
            }
        }
        guard ZSTD_isError(rest) == 0 else { throw Zstd.failure(rest) }
        isBetweenFrames = rest == 0
        holdsMore = rest != 0 && produced == output.count
        return (produced, position)
    }
}
