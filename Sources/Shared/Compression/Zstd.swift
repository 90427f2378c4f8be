import CZstd
import FastableCore

/// What decoder and encoder share: the numbers of the format, and the library's errors in our words.
enum Zstd {
    static let magic = UInt32(ZSTD_MAGICNUMBER)
    static let skippable = UInt32(ZSTD_MAGIC_SKIPPABLE_START)
    static let skippableMask = UInt32(ZSTD_MAGIC_SKIPPABLE_MASK)

    static var outOfMemory: FastableError {
        FastableError(.unavailable, "There is not enough memory to compress. Try again.", retryAfterSeconds: 1)
    }

    static var notZstd: FastableError {
        FastableError(.invalid, "The bytes are not Zstandard, or something else follows them. Send them again.")
    }

    static func failure(_ result: Int) -> FastableError {
        switch ZSTD_getErrorCode(result) {
        case ZSTD_error_frameParameter_windowTooLarge:
            return FastableError(
                .tooLarge,
                "The bytes were compressed with a window of more than \(1 << (Limits.zstdWindowLog - 20)) MiB. Compress them "
                    + "with a level up to 19 and without ‘--long’.",
                details: ["limit": .integer(Int64(1) << Int64(Limits.zstdWindowLog))])
        case ZSTD_error_memory_allocation: return outOfMemory
        default:
            return FastableError(
                .invalid, "The compressed bytes are damaged. Send them again.",
                context: String(cString: ZSTD_getErrorName(result)))
        }
    }
}
