public import FastableCore
import Glibc

/// The number of a failed system call.
public struct Errno: Error, Hashable, Sendable, CustomStringConvertible {
    public let number: CInt

    public init(_ number: CInt) { self.number = number }

    /// Of the last failed call on this thread.
    public static var last: Errno { Errno(errno) }

    /// `errno 2 (No such file or directory)`.
    public var description: String {
        var text = [CChar](repeating: 0, count: 128)
        guard strerror_r(number, &text, text.count) == 0 else { return "errno \(number)" }
        let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "errno \(number) (\(name))"
    }

    /// The result of a call that answers -1 and sets `errno`, again when a signal interrupted it.
    @discardableResult
    public static func check<Result: SignedInteger>(_ call: () -> Result) throws(Errno) -> Result {
        while true {
            let result = call()
            if result >= 0 { return result }
            let error = Errno.last
            if error.number != EINTR { throw error }
        }
    }

    /// The result of a function of `CLinux`, which answers a negative errno.
    @discardableResult
    public static func checkNegative<Result: SignedInteger>(_ result: Result) throws(Errno) -> Result {
        if result < 0 { throw Errno(-CInt(result)) }
        return result
    }
}

extension Errno {
    /// What a failed call on a file of a workspace means to the one who asked.
    ///
    /// - Parameter path: as the caller knows it, relative to `/workspace`.
    public func fileError(_ path: String, doing what: String) -> FastableError {
        let (code, message) = Self.explain(number, "‘\(path)’")
        let details: [String: JSONValue] = ["path": .string(path)]
        guard let code else {
            return FastableError(
                .internal, "The node could not \(what) ‘\(path)’. Its log has the cause.", context: "\(what): \(self)",
                details: details)
        }
        return FastableError(code, message, context: "\(what): \(self)", details: details)
    }

    private static func explain(_ number: CInt, _ path: String) -> (FastableError.Code?, String) {
        switch number {
        case ENOENT: (.notFound, "\(path) does not exist in the workspace.")
        case ENOTDIR: (.notFound, "\(path) does not exist: a part of the path is not a directory.")
        case EXDEV: (.forbidden, "\(path) leads out of /workspace. Use a path below it.")
        case ELOOP: (.forbidden, "\(path) goes through too many symbolic links, or through one that is not allowed.")
        case EACCES, EPERM: (.forbidden, "\(path) may not be used.")
        case ENAMETOOLONG: (.invalid, "\(path) is too long.")
        case EEXIST: (.conflict, "\(path) exists already.")
        case ENOTEMPTY:
            (.conflict, "\(path) is a directory that is not empty. Set ‘recursive’ to remove it with its content.")
        case EAGAIN, EBUSY, ETXTBSY: (.conflict, "\(path) is being changed by a process. Try again.")
        case ETIMEDOUT: (.timeout, "It took too long to read or copy \(path). Do it in smaller parts, or by a command.")
        case ECANCELED: (.cancelled, "The request was cancelled.")
        case EISDIR: (.unprocessable, "\(path) is a directory.")
        case ENXIO, ENODEV: (.unprocessable, "\(path) is not a regular file.")
        case ENOSPC, EDQUOT:
            (.limit, "No space is left on the workspace's disk. \(path) was not changed. Delete files, then try again.")
        case EFBIG: (.tooLarge, "\(path) would become larger than the disk allows.")
        case EROFS: (.unavailable, "The workspace's disk is read-only. Tell the operator of the node.")
        case EMFILE, ENFILE, ENOMEM: (.unavailable, "The node is short of memory or open files. Try again.")
        default: (nil, "")
        }
    }
}
