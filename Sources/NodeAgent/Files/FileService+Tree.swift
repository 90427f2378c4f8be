public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Begins to unpack a tar archive below a directory, which is made when it is missing.
    public func pushTree(_ request: TreePush) async throws -> TreePushSink {
        let path = try RootedPath(request.path ?? ".")
        return try await offload { [self] in
            if !path.isRoot {
                _ = try onFile(path, "make") { () throws(Errno) in
                    try root.makeDirectory(path, owner: uidBase).number
                }
            }
            let top = try directory(path, "unpack into")
            if request.replace ?? false {
                try onFile(path, "empty") { () throws(Errno) in
                    var removal = TreeRemoval()
                    try removal.removeContent(of: top.descriptor)
                }
            }
            return TreePushSink(TreeUnpacker(top: top, owner: uidBase))
        }
    }

    /// Makes a tar archive of what is below a directory.
    public func pullTree(_ request: TreePull) async throws -> TreePullStream {
        let path = try RootedPath(request.path ?? ".")
        return TreePullStream(TreePacker(top: try directory(path, "read")))
    }
}

/// Takes the bytes of a tar archive. Entries are there as soon as they are complete; the first one that is refused ends the matter.
public final class TreePushSink: Sendable {
    private struct State: ~Copyable {
        var unpacker: TreeUnpacker
        var failure: FastableError?
    }

    private let state: Mutex<State>

    init(_ unpacker: consuming TreeUnpacker) { state = Mutex(State(unpacker: unpacker)) }

    /// Adds bytes. One writer at a time; waiting for it slows the sender.
    public func write(_ bytes: [UInt8]) async throws {
        try await perform { unpacker in try unpacker.feed(bytes) }
    }

    /// Ends the archive; its files are on the disk then.
    public func finish() async throws -> TreeResult {
        try await perform { unpacker in try unpacker.finish() }
    }

    private func perform<Value: Sendable>(
        _ body: @escaping @Sendable (inout TreeUnpacker) throws -> Value
    ) async throws -> Value {
        try await BlockingPool.shared.run { [self] in
            try state.withLock { state in
                if let failure = state.failure { throw failure }
                do {
                    return try body(&state.unpacker)
                } catch {
                    let failure = FastableError.unexpected(error, doing: "unpacking the archive")
                    state.failure = failure
                    throw failure
                }
            }
        }
    }
}

/// The bytes of a tar archive.
public final class TreePullStream: Sendable {
    private let packer: Mutex<TreePacker>

    init(_ packer: TreePacker) { self.packer = Mutex(packer) }

    /// The next bytes; `nil` after the end. One reader at a time.
    public func next() async throws -> [UInt8]? {
        try await BlockingPool.shared.run { [self] in try packer.withLock { try $0.next() } }
    }

    /// What was packed so far.
    public var result: TreeResult { packer.withLock { $0.result } }
}
