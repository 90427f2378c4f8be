#if canImport(Glibc)
    import Glibc
#endif

extension FastableError {
    /// What a failed system call means, in the error vocabulary.
    ///
    /// - Parameters:
    ///   - number: `errno` of the call.
    ///   - what: what was tried, to follow the word ‘cannot’; it must not contain a host path.
    ///   - context: for the log: the path, the call.
    public static func system(_ number: Int32, cannot what: String, context: String? = nil) -> FastableError {
        FastableError(code(of: number), "Cannot \(what): \(String(cString: strerror(number))).", context: context)
    }

    private static func code(of number: Int32) -> Code {
        switch number {
        case ENOENT, ENOTDIR: .notFound
        case EACCES, EPERM, EROFS: .forbidden
        case EEXIST, ELOOP, EISDIR, ENOTEMPTY, EADDRINUSE: .conflict
        case ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EAGAIN, ECONNREFUSED: .unavailable
        default: .internal
        }
    }
}
