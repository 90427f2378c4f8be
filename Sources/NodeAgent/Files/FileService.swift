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
    private let path: String
    /// The host's user and group id of the container's root; its other users follow it.
    public let uidBase: UInt32
    /// Held while a new file takes the place of the old one, so that of two changes with the same `ifMatch` one is `stale`.
    let commitLock = Mutex(())
    let work = FileWork()
    /// Small files are read without a change of thread, few at a time: calls of others come between.
    let smallReads = Turns(Limits.smallReadsPerProject)
    /// How many listen to what changes here.
    let watches = Mutex(0)

    /// Notes what files are called before they take the places of old ones.
    let names: TemporaryNames?
    /// Where searches run: they work for the project and must not take more of the host than it may.
    let searchGroup: (@Sendable () async throws -> GroupEntrance)?

    /// - Parameters:
    ///   - root: the workspace's directory, an absolute path of the host.
    ///   - names: notes what the end of the daemon would leave in the workspace.
    ///   - searchGroup: gives the control group of the project's searches; without one they run in the daemon's.
    public init(
        root: String, uidBase: UInt32, names: TemporaryNames? = nil,
        searchGroup: (@Sendable () async throws -> GroupEntrance)? = nil
    ) throws {
        self.uidBase = uidBase
        self.names = names
        self.searchGroup = searchGroup
        path = root
        do throws(Errno) {
            self.root = try RootedDirectory(path: root)
        } catch {
            throw FastableError(
                .unavailable, "The project's workspace is not on this node. Ask the operator.",
                context: "opening \(root): \(error)")
        }
    }

    /// The path that a request names. Those of staged trees are refused, also where a process of the container has a directory of its
    /// own by such a name: what no operation shows, none can be asked for, and the rule stays simple.
    static func requestedPath(_ text: String) throws -> RootedPath {
        let path = try RootedPath(text)
        let first = path.parts.first ?? ""
        guard StagedTree.isName(first) else { return path }
        throw FastableError(
            .unprocessable, "‘\(path)’ begins with a name that the node keeps for itself. Choose another one.",
            details: ["path": .string(path.description)])
    }

    /// Runs what may wait for the disk away from Swift's own threads, unless nobody waits for it any more when its turn comes.
    func offload<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await work.run(onlyIfWanted: true, body)
    }

    /// Throws `gone` when the workspace was taken away since it was opened: what was read of it may be a part of it only. Blocks.
    func checkInPlace() throws {
        do throws(Errno) {
            let there = try RootedDirectory(path: path).descriptor.status()
            if try there.isSameFile(as: root.descriptor.status()) { return }
        } catch {
            guard error.number == ENOENT else { throw error.fileError(".", doing: "read") }
        }
        throw FastableError(.gone, "The project was removed from the node meanwhile.")
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
