import CLinux
import Glibc

/// A user namespace with a range of ids of its own and a network namespace that belongs to it, made before the container that
/// will live in them. They last as long as this value or a process in them.
public final class ContainerNamespaces: Sendable {
    public let user: FileDescriptor
    public let network: FileDescriptor

    /// Maps the ids 0 ..< `count` to `base` ..< `base + count`.
    public init(base: UInt32, count: UInt32) throws(Errno) {
        var made = fst_namespaces()
        try Errno.checkNegative(fst_namespaces_create(base, count, &made))
        user = FileDescriptor(owning: made.user)
        network = FileDescriptor(owning: made.network)
    }

    /// Paths that name the namespaces to other programs while this process holds them.
    public var userPath: String { "/proc/\(getpid())/fd/\(user.number)" }
    public var networkPath: String { "/proc/\(getpid())/fd/\(network.number)" }
}
