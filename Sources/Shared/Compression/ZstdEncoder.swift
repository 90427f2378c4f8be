import CZstd
public import FastableCore

/// Compresses bytes into one Zstandard frame with a checksum, in constant memory.
public struct ZstdEncoder: ~Copyable, @unchecked Sendable {
    // Sendable: the context has one owner, and only `mutating` calls touch it.
    private let context: OpaquePointer

    public init(level: Int = Limits.zstdLevel) throws {
        guard let context = ZSTD_createCCtx() else { throw Zstd.outOfMemory }
        self.context = context
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, CInt(clamping: level))
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    }

    deinit { ZSTD_freeCCtx(context) }

    /// Takes bytes and appends to `output` what is ready, which may be nothing.
    public mutating func compress(_ bytes: UnsafeRawBufferPointer, into output: inout [UInt8]) throws {
        var source = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        while source.pos < source.size { _ = try go(on: &source, ZSTD_e_continue, &output) }
    }

    /// Ends the frame.
    public mutating func finish(into output: inout [UInt8]) throws {
        var source = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
        while try go(on: &source, ZSTD_e_end, &output) > 0 {}
    }

    private mutating func go(
        on source: inout ZSTD_inBuffer, _ directive: ZSTD_EndDirective, _ output: inout [UInt8]
    ) throws -> Int {
        var rest = 0
        let piece = [UInt8](unsafeUninitializedCapacity: ZSTD_CStreamOutSize()) { buffer, filled in
            var target = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
            rest = ZSTD_compressStream2(context, &target, &source, directive)
            filled = target.pos
        }
        guard ZSTD_isError(rest) == 0 else { throw Zstd.failure(rest) }
        if output.isEmpty { output = piece } else { output += piece }
        return rest
    }
}
