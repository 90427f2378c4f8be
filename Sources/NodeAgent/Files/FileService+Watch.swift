public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Begins to tell what changes below a directory. What is there already is not told.
    public func watch(_ request: FileWatch) async throws -> FileWatchStream {
        let path = try Self.requestedPath(request.path ?? ".")
        let top = try directory(path, "watch")
        return try await offload { [self] in try FileWatchStream(self, path, top) }
    }

    /// How many listen on this node, whatever the project.
    private static let allWatches = Mutex(0)

    fileprivate func enterWatch() throws {
        try Self.allWatches.withLock { all in
            try watches.withLock { own in
                guard all < Limits.watchesPerNode, own < Limits.watchesPerProject else {
                    throw FastableError(
                        .limit,
                        "\(Limits.watchesPerProject) watches of a project and \(Limits.watchesPerNode) of a node can be open. "
                            + "Close some, then try again.",
                        details: ["limit": .integer(Int64(Limits.watchesPerProject))], retryAfterSeconds: 5)
                }
                all += 1
                own += 1
            }
        }
    }

    fileprivate func leaveWatch() {
        Self.allWatches.withLock { $0 -= 1 }
        watches.withLock { $0 -= 1 }
    }
}

/// The changes below a directory, gathered over a moment. Nothing piles up while nobody asks: then the kernel drops changes, and a
/// rescan marker says so.
public final class FileWatchStream: Sendable {
    private struct State: ~Copyable {
        var tree: WatchedTree
        var batch: WatchBatch
        var pauses = false
    }

    private let service: FileService
    private let path: RootedPath
    private let state: Mutex<State>
    /// Closed for writing, it wakes whoever waits.
    private let stop: Mutex<FileDescriptor?>
    private let stopped: FileDescriptor

    fileprivate init(_ service: FileService, _ path: RootedPath, _ top: RootedDirectory) throws {
        try service.enterWatch()
        do {
            var batch = WatchBatch { below in
                below.isEmpty ? path.description : path.joined(String(decoding: below, as: UTF8.self))
            }
            let tree = try service.onFile(path, "watch") { () throws(Errno) in
                var tree = try WatchedTree.make(top)
                try tree.begin(&batch)
                return tree
            }
            let pipe = try Pipe()
            stopped = try pipe.reading.duplicate()
            stop = Mutex(try pipe.writing.duplicate())
            state = Mutex(State(tree: tree, batch: batch))
        } catch {
            service.leaveWatch()
            throw error
        }
        self.service = service
        self.path = path
    }

    deinit { service.leaveWatch() }

    /// Ends it, also for whoever waits in `next`.
    public func cancel() { stop.withLock { $0 = nil } }

    /// The next changes; `nil` after `cancel`. One reader at a time.
    ///
    /// - Throws: `gone` when the directory itself was removed.
    public func next() async throws -> [FileWatchEvent]? {
        try await BlockingPool.watches.run { [self] in try state.withLock { try next(&$0) } }
    }

    private func next(_ state: inout State) throws -> [FileWatchEvent]? {
        if state.pauses, isStopped(within: Limits.watchRescanPauseMilliseconds) { return nil }
        while true {
            let isGone = state.tree.topIsGone
            // What happened before its end comes first.
            guard try !isGone || gather(&state) else { return nil }
            let events = state.batch.take()
            if !events.isEmpty {
                state.pauses = events.contains { $0.kind == .rescan }
                return events
            }
            guard !isGone else {
                throw FastableError(
                    .gone, "‘\(path)’ was removed, so nothing in it can change any more.",
                    details: ["path": .string(path.description)])
            }
            switch wait(for: state.tree.queue.number) {
            case .stopped: return nil
            case .quiet: continue
            case .ready: guard try gather(&state) else { return nil }
            }
        }
    }

    /// Takes changes until it is quiet for a moment; `false` when it was cancelled.
    private func gather(_ state: inout State) throws -> Bool {
        let longest = ContinuousClock.now + .milliseconds(Limits.watchLongestMilliseconds)
        try withUnsafeTemporaryAllocation(byteCount: Self.bufferBytes, alignment: 16) { buffer in
            var wasQuiet = false
            while !wasQuiet, state.batch.count < Limits.watchBatchEvents {
                wasQuiet = try service.onFile(path, "watch") { () throws(Errno) in
                    try !state.tree.take(buffer, &state.batch)
                }
                if ContinuousClock.now > longest { break }
                // Waiting here is what joins several changes of one file.
                if !wasQuiet, isStopped(within: Limits.watchQuietMilliseconds) { break }
            }
        }
        try service.onFile(path, "watch") { () throws(Errno) in try state.tree.settle(&state.batch) }
        return !isStopped(within: 0)
    }

    private static let bufferBytes = 256 * 1024

    private func isStopped(within milliseconds: Int) -> Bool {
        var set = pollfd(fd: stopped.number, events: Int16(POLLIN), revents: 0)
        return poll(&set, 1, CInt(milliseconds)) > 0
    }

    private enum Wake { case ready, quiet, stopped }

    /// Waits for a change, and now and then for none: that the directory itself is gone is nothing that the kernel tells.
    private func wait(for queue: CInt) -> Wake {
        var set = [
            pollfd(fd: stopped.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: queue, events: Int16(POLLIN), revents: 0),
        ]
        let patience = path.isRoot ? -1 : CInt(Limits.watchCheckMilliseconds)
        guard poll(&set, 2, patience) > 0 else { return .quiet }
        return set[0].revents != 0 ? .stopped : .ready
    }
}
