import CLinux
import Glibc
import Synchronization

/// Ends a command from any thread, also before it has started. The process group is only signalled while its leader is not reaped:
/// until then the kernel gives its number to nobody else.
final class CommandControl: Sendable {
    /// Why we ended a command.
    enum Ending: Sendable { case cancelled, timedOut, enough, failed }

    private struct State {
        var pid: pid_t?
        var ending: Ending?
    }

    private let state = Mutex(State())

    var ending: Ending? { state.withLock { $0.ending } }

    func kill(_ ending: Ending) {
        state.withLock { state in
            if state.ending == nil { state.ending = ending }
            if let pid = state.pid { Glibc.kill(-pid, SIGKILL) }
        }
    }

    func started(_ pid: pid_t) {
        state.withLock { state in
            state.pid = pid
            if state.ending != nil { Glibc.kill(-pid, SIGKILL) }
        }
    }

    /// Takes the exit status of a process that has ended.
    func reap(_ process: borrowing FileDescriptor) throws -> HostCommand.ExitStatus {
        let number = process.number
        return try state.withLock { state in
            var exit = fst_exit()
            try Errno.checkNegative(fst_reap(number, &exit))
            state.pid = nil
            return exit.signal == 0 ? .exited(exit.code) : .signaled(exit.signal)
        }
    }
}
