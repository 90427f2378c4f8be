import FastableCore

extension ExecState {
    /// An exec that is to be started. Who asked for that may come to follow it from its first byte on.
    init(
        starting command: ExecCommand?, container: ContainerID, _ secrets: SecretFile?, now: ExecFollowers.Instant
    ) {
        var followers = ExecFollowers(overflow: command?.overflow ?? .slow)
        followers.started(now: now)
        self.init(
            container: container, stdout: Self.log(secrets), stderr: Self.log(secrets),
            input: ExecInput(isOpen: command.map { $0.takesInput || $0.terminal != nil } ?? false),
            followers: followers)
    }

    /// An exec that init holds, after a restart of the daemon. Those who followed it will come again.
    init(
        recovered held: InitReport.Held, container: ContainerID, _ secrets: SecretFile?,
        _ fileStarts: (stdout: UInt64, stderr: UInt64), now: ExecFollowers.Instant
    ) {
        let stdout = Self.log(secrets, stored: held.stdoutStored, fileStart: fileStarts.stdout)
        let stderr = Self.log(secrets, stored: held.stderrStored, fileStart: fileStarts.stderr)
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

    private static func log(_ secrets: SecretFile?, stored: UInt64 = 0, fileStart: UInt64 = 0) -> ExecLog {
        ExecLog(stored: stored, fileStart: fileStart, redactor: secrets?.redactor(from: stored))
    }
}
