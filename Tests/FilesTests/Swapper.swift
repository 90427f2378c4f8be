import Glibc
import NodeLinux
import Synchronization
import Testing

/// Swaps two names, each time at once, for as long as the test runs.
final class Swapper: Sendable {
    private typealias Rename =
        @convention(c) (CInt, UnsafePointer<CChar>, CInt, UnsafePointer<CChar>, CUnsignedInt) -> CInt

    private let stopped = Atomic(false)
    private let rounds = Atomic(0)
    private let task: Mutex<Task<Void, any Error>?> = Mutex(nil)

    init(_ first: String, _ second: String) async throws {
        // Swift does not see renameat2, which alone can exchange two names.
        let symbol = try #require(dlsym(nil, "renameat2"))
        let exchange = unsafeBitCast(symbol, to: Rename.self)
        let task = Task { [self] in
            try await BlockingPool.shared.run { [self] in
                while !stopped.load(ordering: .relaxed) {
                    _ = exchange(AT_FDCWD, first, AT_FDCWD, second, 2)
                    if rounds.wrappingAdd(1, ordering: .relaxed).newValue % 7 == 0 { sched_yield() }
                }
            }
        }
        self.task.withLock { $0 = task }
        while rounds.load(ordering: .relaxed) == 0 { await Task.yield() }
    }

    func stop() async throws {
        stopped.store(true, ordering: .relaxed)
        try await task.withLock { $0 }?.value
    }
}
