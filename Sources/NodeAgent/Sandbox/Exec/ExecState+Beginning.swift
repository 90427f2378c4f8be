import FastableCore

extension ExecState {
    /// An exec that is to be started. Who asked for that may come to follow it from its first byte on.
    init(
        starting command: ExecCommand?, container: ContainerID, _ masking: ExecMasking, now: ExecFollowers.Instant
    ) {
        var followers = ExecFollowers(overflow: command?.overflow ?? .slow)
        followers.started(now: now)
        self.init(
            container: container, stdout: Self.log(masking), stderr: Self.log(masking),
            input: ExecInput(isOpen: command.map { $0.takesInput || $0.terminal != nil } ?? false),
            followers: followers)
    }

    /// An exec that init holds, after a restart of the daemon. Those who followed it will come again.
    init(
        recovered held: InitReport.Held, container: ContainerID, _ masking: ExecMasking,
        _ fileStarts: (stdout: UInt64, stderr: UInt64), now: ExecFollowers.Instant
    ) {
        let stdout = Self.log(masking, stored: held.stdoutStored, fileStart: fileStarts.stdout)
        let stderr = Self.log(masking, stored: held.stderrStored, fileStart: fileStarts.stderr)
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

    private static func log(_ masking: ExecMasking, stored: UInt64 = 0, fileStart: UInt64 = 0) -> ExecLog {
        ExecLog(stored: stored, fileStart: fileStart, redactor: masking.redactor(from: stored))
    }
}

/// What a command's output is masked for.
struct ExecMasking: Sendable {
    /// Its own; absent for almost all.
    var secrets: SecretFile?
    /// Of all that run in its container, and so of its own too.
    var patterns: SecretPatterns?

    func redactor(from offset: UInt64) -> SecretRedactor? {
        secrets?.redactor(patterns, from: offset) ?? patterns.map { SecretRedactor($0, position: offset) }
    }
}
