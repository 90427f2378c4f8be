import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// How much one copy may still do. Whoever waits for it may give up at any time.
final class CopyBudget: Sendable {
    private let deadline = ContinuousClock.now + .seconds(Limits.copySeconds)
    private let isCancelled = Atomic(false)

    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// Throws `ETIMEDOUT` or `ECANCELED` when it is enough.
    func check() throws(Errno) {
        if isCancelled.load(ordering: .relaxed) { throw Errno(ECANCELED) }
        if ContinuousClock.now > deadline { throw Errno(ETIMEDOUT) }
    }
}
