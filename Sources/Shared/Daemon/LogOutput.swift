import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Where log lines go. Nothing is buffered: a line is in the kernel when the call returns, so a crash loses none, and a
/// reader that is slow slows the daemon down instead of losing lines.
public final class LogOutput: Sendable {
    /// The daemon's standard error.
    public static let standardError = LogOutput(descriptor: STDERR_FILENO)
    /// For what a program was asked: the buffer of `print` is not emptied when a daemon's program ends.
    public static let standardOutput = LogOutput(descriptor: STDOUT_FILENO)

    private let descriptor: Int32
    /// Held while one line is written: a pipe takes a long line in pieces.
    private let lock = Mutex(())

    /// - Parameter descriptor: stays the caller's; it must outlive the output.
    public init(descriptor: Int32) { self.descriptor = descriptor }

    public func write(line: String) {
        let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
        lock.withLock { _ in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count < 0 && errno == EAGAIN {
                    var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&waiting, 1, -1)
                } else if count < 0 && errno == EINTR {
                    continue
                } else {
                    // The reader is gone: there is nowhere left to tell.
                    return
                }
            }
        }
    }
}
