import FastableCore
import Glibc
public import NodeLinux
import Synchronization

/// The files of one project's workspace, on the host. Works while the container sleeps.
///
/// Every path is resolved by the kernel below the workspace's directory; the container may change it at any time and gains nothing.
/// What this service makes belongs to the container's root.
public final class FileService: Sendable {
    public let root: RootedDirectory
    /// The host's user and group id of the container's root; its other users follow it.
    public let uidBase: UInt32
    /// Held while a new file takes the place of the old one, so that of two changes with the same `ifMatch` one is `stale`.
    let commitLock = Mutex(())
    /// How many listen to what changes here.
    let watches = Mutex(0)

    /// Where searches run: they work for the project and must not take more of the host than it may.
    let searchGroup: (@Sendable () async throws -> GroupEntrance)?

    /// - Parameters:
    ///   - root: the workspace's directory, an absolute path of the host.
    ///   - searchGroup: gives the control group of the project's searches; without one they run in the daemon's.
    public init(
        root: String, uidBase: UInt32, searchGroup: (@Sendable () async throws -> GroupEntrance)? = nil
    ) throws {
        self.uidBase = uidBase
        self.searchGroup = searchGroup
        do throws(Errno) {
            self.root = try RootedDirectory(path: root)
        } catch {
            throw FastableError(
                .unavailable, "The project's workspace is not on this node. Ask the operator.",
                context: "opening \(root): \(error)")
        }
    }

    /// Runs what may wait for the disk away from Swift's own threads.
    func offload<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await BlockingPool.shared.run(body)
    }

    /// Runs file calls and tells their errors in terms of the path.
    func onFile<Value: ~Copyable>(
        _ path: RootedPath, _ what: String, _ body: () throws(Errno) -> Value
    ) throws -> Value {
        do throws(Errno) { return try body() } catch { throw error.fileError(path.description, doing: what) }
    }

    func notRegular(_ path: RootedPath) -> FastableError {
        FastableError(
            .unprocessable, "‘\(path)’ is neither a regular file nor a directory.",
            details: ["path": .string(path.description)])
    }

    static func outOfRange(_ field: String, _ range: String) -> FastableError {
        FastableError(
            .unprocessable, "The field ‘\(field)’ must be in the range \(range).", details: ["field": .string(field)])
    }
}

/// An open file that goes from one thread to another.
final class OpenFile: Sendable {
    let descriptor: FileDescriptor
    let status: FileStatus

    init(_ descriptor: consuming FileDescriptor) throws(Errno) {
        status = try descriptor.status()
        self.descriptor = descriptor
    }
}
