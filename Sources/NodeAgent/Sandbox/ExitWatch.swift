@preconcurrency import Dispatch
import NodeLinux

/// Tells once that a process has ended. Cancelled when this value goes away.
final class ExitWatch: Sendable {
    private let source: any DispatchSourceRead

    /// Throws `ESRCH` when the process has ended already.
    init(_ process: ProcessIdentity, _ ended: @escaping @Sendable () -> Void) throws(Errno) {
        let descriptor = try process.open()
        let number = descriptor.number
        source = DispatchSource.makeReadSource(fileDescriptor: number, queue: .global())
        let source = source
        source.setEventHandler {
            source.cancel()
            ended()
        }
        // The source must let go of the descriptor before it is closed.
        let owned = descriptor.release()
        source.setCancelHandler { _ = FileDescriptor(owning: owned) }
        source.activate()
    }

    deinit { source.cancel() }
}
