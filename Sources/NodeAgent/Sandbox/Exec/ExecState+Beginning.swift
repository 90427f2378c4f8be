import FastableCore

extension ExecState {
    /// An exec that is to be started. Who asked for that may come to follow it from its first byte on.
    init(starting command: ExecCommand?, container: ContainerID, now: ExecFollowers.Instant) {
        var followers = ExecFollowers(overflow: command?.overflow ?? .slow)
        followers.started(now: now)
        self.init(
            container: container, stdout: ExecLog(), stderr: ExecLog(),
            input: ExecInput(isOpen: command.map { $0.takesInput || $0.terminal != nil } ?? false),
            followers: followers)
    }

    /// An exec that init holds, after a restart of the daemon. Those who followed it will come again.
    init(recovered held: InitReport.Held, container: ContainerID, now: ExecFollowers.Instant) {
        let stdout = ExecLog(stored: held.stdoutStored)
        let stderr = ExecLog(stored: held.stderrStored)
        let (overflow, count) = ExecFollowers.read(note: held.note)
        var followers = ExecFollowers(overflow: overflow)
        followers.recovered(
            count, floor: ExecFollowers.Place(stdout: stdout.floor, stderr: stderr.floor),
            head: ExecFollowers.Place(stdout: stdout.head, stderr: stderr.head), now: now)
        self.init(
            container: container, stdout: stdout, stderr: stderr,
            input: ExecInput(isOpen: held.takesInput, arrived: held.inputArrived, passed: held.inputPassed),
            followers: followers, note: held.note)
    }
}
