import FastableCore
import NodeLinux
import Synchronization

/// One walk through the files that match a pattern, in pieces.
final class GlobWalk: Sendable {
    private struct State {
        var walker: SearchWalker
        var count = 0
        var isTruncated = false
        var hasEnded = false
    }

    private let state: Mutex<State>
    private let path: RootedPath
    private let limit: Int

    init(_ walker: sending SearchWalker, path: RootedPath, limit: Int) {
        state = Mutex(State(walker: walker))
        self.path = path
        self.limit = limit
    }

    /// There are more than were given.
    var isTruncated: Bool { state.withLock { $0.isTruncated } }

    /// What is found in a moment; `nil` at the end. Blocks.
    func next() throws -> [String]? {
        try state.withLock { state -> [String]? in
            guard !state.hasEnded else { return nil }
            let pause = ContinuousClock.now + .milliseconds(Limits.searchTellMilliseconds)
            var paths: [String] = []
            while paths.count < Limits.searchBatchItems {
                switch try state.walker.next(pausingAt: pause) {
                case .file(let name):
                    guard state.count < limit else {
                        state.isTruncated = true
                        state.hasEnded = true
                        return paths
                    }
                    state.count += 1
                    // A name that is no text is told as `grep` and lists tell it.
                    paths.append(path.joined(String(decoding: name, as: UTF8.self)))
                case .paused: return paths
                case .end:
                    state.hasEnded = true
                    if state.walker.isIncomplete { state.isTruncated = true }
                    return paths
                }
            }
            return paths
        }
    }
}
