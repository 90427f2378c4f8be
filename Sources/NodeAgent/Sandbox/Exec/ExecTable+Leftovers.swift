import CLinux
import FastableCore
import Glibc
import NodeLinux

/// Processes that a command left in the background when it, and all that it could print, was over. Init has forgotten such a command;
/// its control group is still named by its number, which no other command of the container gets.
extension ExecTable {
    /// Asks them to end by a signal, kills those that are left after `grace`, and returns when none is; `true` when some had to be killed.
    ///
    /// - Throws: `timeout` when they do not end, `unavailable` when the container does not answer.
    func endLeftovers(of exec: ExecID, signal: Int32, grace: Duration) async throws -> Bool {
        let container = container
        let number = try await BlockingPool.shared.run { [store] in
            guard let record = try store.read(exec), record.container == container else { return UInt32?.none }
            return record.number
        }
        guard let number else { return false }
        if signal != 9, mayHaveProcesses(number) {
            try await signalEveryone(number, signal)
            if try await isEmptied(number, within: grace) { return false }
        }
        return try await endAll(number)
    }

    /// Kills what is left of a command that init does not hold; `false` when nothing is. Throws like `endLeftovers`.
    func endAll(_ number: UInt32) async throws -> Bool {
        try await BlockingPool.shared.run { [self] in try Self.endAll(in: cgroup.number, number) }
    }

    private static func endAll(in directory: CInt, _ number: UInt32) throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(Limits.execKillSeconds)
        var hasKilled = false
        while true {
            do throws(Errno) {
                try endAll(in: directory, number, until: deadline, &hasKilled)
                return hasKilled
            } catch {
                if isGone(error) { return hasKilled }
                guard error.number != ETIMEDOUT else {
                    throw FastableError(
                        .timeout, "Processes of the command did not end within \(Limits.execKillSeconds) seconds.")
                }
                guard ContinuousClock.now < deadline else {
                    throw FastableError(
                        .internal,
                        "What the command left running could not be ended. The log of the node has the cause.",
                        context: "\(error)")
                }
                usleep(UInt32(Limits.execEndCheckMilliseconds) * 1000)
            }
        }
    }

    private static func endAll(
        in directory: CInt, _ number: UInt32, until deadline: ContinuousClock.Instant, _ hasKilled: inout Bool
    ) throws(Errno) {
        let events = try FileDescriptor(checking: fastable_cgroup_open_events(directory, number))
        guard try Errno.checkNegative(fastable_cgroup_populated(events.number)) > 0 else { return }
        try Errno.checkNegative(fastable_cgroup_kill(directory, number))
        hasKilled = true
        try waitUntilEmpty(events, until: deadline)
        // Init removes it otherwise.
        _ = fastable_cgroup_remove(directory, number)
    }

    /// The group went away, and with it everything in it. Other errors, as when there is no file to be had, say nothing
    /// about processes.
    private static func isGone(_ error: Errno) -> Bool { error.number == ENOENT || error.number == ENODEV }

    private static func waitUntilEmpty(
        _ events: borrowing NodeLinux.FileDescriptor, until deadline: ContinuousClock.Instant
    ) throws(Errno) {
        while try Errno.checkNegative(fastable_cgroup_populated(events.number)) > 0 {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0 else { throw Errno(ETIMEDOUT) }
            var watched = pollfd(fd: events.number, events: Int16(POLLPRI), revents: 0)
            _ = poll(&watched, 1, CInt(left) + 1)
        }
    }

    /// Whether processes of a command are left. Where that cannot be told they may be.
    func mayHaveProcesses(_ number: UInt32) -> Bool {
        do throws(Errno) {
            let events = try FileDescriptor(checking: fastable_cgroup_open_events(cgroup.number, number))
            return try Errno.checkNegative(fastable_cgroup_populated(events.number)) > 0
        } catch {
            return !Self.isGone(error)
        }
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
