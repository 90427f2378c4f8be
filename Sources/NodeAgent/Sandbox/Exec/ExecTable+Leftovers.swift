import CLinux
import FastableCore
import Glibc
import NodeLinux

/// Processes that a command left in the background when it, and all that it could print, was over. Init has forgotten such a command;
/// its control group is still named by its number, which no other command of the container gets.
extension ExecTable {
    /// Kills them and returns when nothing of them is left; `true` when there were any.
    ///
    /// - Throws: `timeout` when they do not end.
    func endLeftovers(of exec: ExecID) async throws -> Bool {
        let container = container
        return try await BlockingPool.shared.run { [self] in
            guard let record = try store.read(exec), record.container == container, let number = record.number
            else { return false }
            return try Self.endAll(in: cgroup.number, number)
        }
    }

    /// `false` when nothing was there.
    private static func endAll(in directory: CInt, _ number: UInt32) throws -> Bool {
        do throws(Errno) {
            let events = try FileDescriptor(checking: fastable_cgroup_open_events(directory, number))
            guard try Errno.checkNegative(fastable_cgroup_populated(events.number)) > 0 else { return false }
            try Errno.checkNegative(fastable_cgroup_kill(directory, number))
            try waitUntilEmpty(events)
            // Init removes it otherwise.
            _ = fastable_cgroup_remove(directory, number)
            return true
        } catch {
            switch error.number {
            // The group went away, and with it everything in it.
            case ENOENT, ENODEV: return false
            case ETIMEDOUT:
                throw FastableError(
                    .timeout, "Processes of the command did not end within \(Limits.execKillSeconds) seconds.")
            default:
                throw FastableError(
                    .internal, "What the command left running could not be ended. The log of the node has the cause.",
                    context: "\(error)")
            }
        }
    }

    private static func waitUntilEmpty(_ events: borrowing NodeLinux.FileDescriptor) throws(Errno) {
        let deadline = ContinuousClock.now + .seconds(Limits.execKillSeconds)
        while try Errno.checkNegative(fastable_cgroup_populated(events.number)) > 0 {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0 else { throw Errno(ETIMEDOUT) }
            var watched = pollfd(fd: events.number, events: Int16(POLLPRI), revents: 0)
            _ = poll(&watched, 1, CInt(left) + 1)
        }
    }

    /// Whether processes of a command are left.
    func isPopulated(_ number: UInt32) -> Bool {
        guard let events = try? FileDescriptor(checking: fastable_cgroup_open_events(cgroup.number, number)) else {
            return false
        }
        return fastable_cgroup_populated(events.number) > 0
    }

    /// The highest number that a command of the container may have had, as far as groups tell. Who is root in the container can make
    /// groups, too: what no command can have reached does not count.
    func highestGroupNumber() throws -> UInt32 {
        let directory = try FileDescriptor(opening: "/proc/self/fd/\(cgroup.number)", O_RDONLY | O_DIRECTORY)
        var numbers = [UInt32](repeating: 0, count: 4 * Limits.execsPerContainer)
        let count = try Errno.checkNegative(
            fastable_cgroup_list(directory.number, &numbers, CInt(numbers.count)))
        return numbers.prefix(Int(count)).filter { $0 <= UInt32.max / 2 }.max() ?? 0
    }
}
