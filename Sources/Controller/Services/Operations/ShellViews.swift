import ControllerDomain
import FastableCore
import FoundationEssentials

/// A command as `shell.exec` and `shell.wait` answer it. `exitCode`, `signal` and `durationMs` are `null` when they do not apply.
struct ShellAnswer: Encodable, Sendable {
    var exec: ExecID
    /// `nil` while it runs.
    var result: ExecResult?
    var stdout = CappedOutput(limit: Limits.toolOutputBytes)
    var stderr = CappedOutput(limit: Limits.toolOutputBytes)
    var offsets: ExecOffsets
    var missingBytes: UInt64 = 0

    init(started exec: ExecID) {
        self.exec = exec
        offsets = ExecOffsets()
    }

    init(_ outcome: ExecService.Outcome) {
        exec = outcome.result.exec
        result = outcome.result
        stdout = outcome.stdout
        stderr = outcome.stderr
        missingBytes = outcome.missingBytes
        offsets = ExecOffsets(stdout: outcome.result.stdoutBytes, stderr: outcome.result.stderrBytes)
    }

    init(_ exec: ExecID, _ gathered: Gathered) {
        self.exec = exec
        result = gathered.result
        stdout = gathered.stdout
        stderr = gathered.stderr
        offsets = gathered.offsets
        missingBytes = gathered.missingBytes
    }

    enum CodingKeys: String, CodingKey {
        case execId, running, exitCode, signal, stdout, stderr, truncated, omitted, missingBytes, durationMs, timedOut,
            stdoutBytes, stderrBytes, limitHit
    }

    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(exec, forKey: .execId)
        try fields.encode(result == nil, forKey: .running)
        try fields.encode(result?.exitCode, forKey: .exitCode)
        try fields.encode(result?.signal, forKey: .signal)
        try fields.encode(stdout.text, forKey: .stdout)
        try fields.encode(stderr.text, forKey: .stderr)
        try fields.encode(stdout.isCut || stderr.isCut || missingBytes > 0, forKey: .truncated)
        try fields.encode(omitted, forKey: .omitted)
        if missingBytes > 0 { try fields.encode(missingBytes, forKey: .missingBytes) }
        try fields.encode(result?.durationMilliseconds, forKey: .durationMs)
        try fields.encode(result?.timedOut ?? false, forKey: .timedOut)
        try fields.encode(offsets.stdout, forKey: .stdoutBytes)
        try fields.encode(offsets.stderr, forKey: .stderrBytes)
        try fields.encodeIfPresent(result?.limitHit, forKey: .limitHit)
    }

    /// What was cut, as shell.output takes it.
    private struct Omitted: Encodable {
        var stream: ExecStreamName
        var offset: UInt64
        var nextOffset: UInt64
    }

    private var omitted: [Omitted] {
        [(ExecStreamName.stdout, stdout.omitted), (.stderr, stderr.omitted)].compactMap { stream, range in
            range.map { Omitted(stream: stream, offset: $0.lowerBound, nextOffset: $0.upperBound) }
        }
    }

    static let schema = JSONSchema.output([
        .required("execId", .string("Names this run: for shell.wait, shell.output and shell.kill.")),
        .required("running", .boolean("It has not ended; the fields about its end do not count yet.")),
        .required("exitCode", .nullable(.integer(nil, "0 means success; null when a signal ended it."))),
        .required("signal", .nullable(.string("The signal that ended it, such as SIGKILL."))),
        .required("stdout", .string()),
        .required("stderr", .string()),
        .required("truncated", .boolean("Bytes are missing here; shell.output gives those that are kept.")),
        .required(
            "omitted",
            .array(
                .output([
                    .required("stream", .oneOf(ExecStreamName.allCases.map(\.rawValue))),
                    .required("offset", .count("Of the first byte that is missing: give it to shell.output.")),
                    .required("nextOffset", .count("Of the first byte behind them, which is here.")),
                ]), "What was cut out of the middle of `stdout` and `stderr`.")),
        .optional("missingBytes", .count("Printed, but no longer kept when this was read.")),
        .required("durationMs", .nullable(.number(nil, "Milliseconds."))),
        .required("timedOut", .boolean("It was ended because `timeoutSec` had passed.")),
        .required("stdoutBytes", .count("Bytes in all, also those that were cut.")),
        .required("stderrBytes", .count("Bytes in all, also those that were cut.")),
        .optional(
            "limitHit",
            .output(
                ProjectSchemas.limitHit,
                "It failed, and its container came to this limit while it ran: a likely reason. devcontainer.limits raises it."
            )),
    ])
}

/// A command in a list.
struct ShellListEntry: Encodable, Sendable {
    var execId: ExecID
    var cmd: String
    var startedAt: Date
    /// `running`, `ended`, or `unknown` when the node is offline or has forgotten it.
    var state: State
    var exitCode: Int32?
    var signal: String?
    var timedOut: Bool
    var stdoutBytes: UInt64
    var stderrBytes: UInt64

    enum State: String, Encodable, Sendable, CaseIterable { case running, ended, unknown }

    init(_ handle: ExecHandle, _ status: ExecStatus?) {
        execId = handle.id
        cmd = handle.command
        startedAt = handle.startedAt
        state = status.map { $0.running ? .running : .ended } ?? .unknown
        exitCode = status?.result?.exitCode
        signal = status?.result?.signal
        timedOut = status?.result?.timedOut ?? false
        stdoutBytes = status?.stdoutBytes ?? 0
        stderrBytes = status?.stderrBytes ?? 0
    }

    static let schema = JSONSchema.output([
        .required("execId", .string()),
        .required("cmd", .string("The beginning of its command line.")),
        .required("startedAt", .date("When it was started.")),
        .required("state", .oneOf(State.allCases.map(\.rawValue), "unknown: the node is offline or has forgotten it.")),
        .optional("exitCode", .integer()),
        .optional("signal", .string()),
        .required("timedOut", .boolean()),
        .required("stdoutBytes", .count("Bytes printed so far.")),
        .required("stderrBytes", .count("Bytes printed so far.")),
    ])
}
