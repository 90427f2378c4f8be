import FastableCore
import Glibc
import NodeLinux
import Synchronization

/// Tells blocking work that nobody waits for it any more.
final class Cancellation: Sendable {
    private let isCancelled = Atomic(false)

    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    func check() throws(Errno) {
        if isCancelled.load(ordering: .relaxed) { throw Errno(ECANCELED) }
    }
}

/// How long one copy may still go on.
struct CopyBudget: Sendable {
    let cancellation: Cancellation
    private let deadline = ContinuousClock.now + .seconds(Limits.copySeconds)

    init(_ cancellation: Cancellation) { self.cancellation = cancellation }

    /// Throws `ETIMEDOUT` or `ECANCELED` when it is enough.
    func check() throws(Errno) {
        try cancellation.check()
        if ContinuousClock.now > deadline { throw Errno(ETIMEDOUT) }
    }
}
