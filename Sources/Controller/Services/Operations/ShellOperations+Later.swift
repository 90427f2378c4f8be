import ControllerDomain
import FastableCore
import FoundationEssentials
import NIOCore

/// What can be done with a command that runs, or has run, by its id.
extension ShellOperations {
    private static let execID = JSONSchema.Property.required("execId", .string("From shell.exec.", maximumBytes: 64))

    private static func note(_ input: JSONValue) -> Operation.Note {
        let key = input["idempotencyKey"]?.string
        return Operation.Note(
            input["execId"]?.string?.shortened ?? "", key.map { ["idempotencyKey": .string($0.shortened)] } ?? [:])
    }

    // MARK: list

    struct ListInput: Decodable, Sendable {
        var limit: Int?
        var before: ExecID?
    }

    struct ListAnswer: Encodable, Sendable {
        var execs: [ShellListEntry]
        /// To be given as `before` for the next page.
        var next: ExecID?
    }

    var list: Operation {
        .onProject(
            "shell.list",
            .init(
                "List commands",
                "Lists a project's commands, newest first: which run, and how the others ended, which is "
                    + "kept for \(Limits.finishedExecDays) days; the last output only of the last \(Limits.finishedExecsKept) commands."
            ),
            scope: .exec, annotations: .reading, input: ListInput.self,
            fields: [
                .optional("limit", .integer(1...Limits.execsPerList, "Entries at most.", default: 20)),
                .optional("before", .string("`next` of the page before.", maximumBytes: 64)),
            ],
            answers: .output([
                .required("execs", .array(ShellListEntry.schema)),
                .optional("next", .string("There may be more: give this as `before`.")),
            ])
        ) { input, project, context in
            let limit = input.limit ?? 20
            let entries = try await execs.list(project, before: input.before, limit: limit, context: context)
            return ListAnswer(
                execs: entries.map { ShellListEntry($0.handle, $0.status) },
                next: entries.count == limit ? entries.last?.handle.id : nil)
        }
    }

    // MARK: wait

    struct WaitInput: Decodable, Sendable {
        var execId: ExecID
        var timeoutSec: Int?
        var stdoutOffset: Int?
        var stderrOffset: Int?
    }

    var wait: Operation {
        .make(
            "shell.wait",
            .init(
                "Wait for a command",
                "Waits until a command has ended, `timeoutSec` at most, and answers like shell.exec. When `running` is true "
                    + "it still runs: call again, with `stdoutOffset` and `stderrOffset` set to `stdoutBytes` and `stderrBytes` "
                    + "of this answer to get only what is new."),
            scope: .exec, annotations: .reading, input: WaitInput.self,
            accepts: .input([
                Self.execID,
                .optional("timeoutSec", .integer(0...Limits.execTimeoutLongestSeconds, "Seconds.", default: 60)),
                .optional("stdoutOffset", .count("Leave out what stdout had before this offset.")),
                .optional("stderrOffset", .count("Leave out what stderr had before this offset.")),
            ]), answers: ShellAnswer.schema, note: Self.note
        ) { input, context in
            let counts = input.stdoutOffset != nil || input.stderrOffset != nil
            let offsets = ExecOffsets(
                stdout: UInt64(input.stdoutOffset ?? 0), stderr: UInt64(input.stderrOffset ?? 0))
            let gathered = try await execs.wait(
                for: input.execId, seconds: input.timeoutSec ?? 60, from: counts ? offsets : nil, context: context)
            return ShellAnswer(input.execId, gathered)
        }
    }

    // MARK: output

    struct OutputInput: Decodable, Sendable {
        var execId: ExecID
        var stream: ExecStreamName?
        var offset: Int64?
        var limit: Int?
        var encoding: Encoding?
    }

    enum Encoding: String, Codable, Sendable, CaseIterable { case text, base64 }

    struct OutputAnswer: Encodable, Sendable {
        var execId: ExecID
        var stream: ExecStreamName
        var offset: UInt64
        var nextOffset: UInt64
        var totalBytes: UInt64
        var running: Bool
        var missingBytes: UInt64
        var content: String
    }

    var output: Operation {
        .make(
            "shell.output",
            .init(
                "Read a command's output",
                "Gives a part of what a command printed on stdout or stderr, also while it runs. Offsets count bytes; a negative "
                    + "one counts from the end. Go on at `nextOffset`; at the end it equals `totalBytes`. A node keeps the last "
                    + "\(Limits.execOutputKeptBytes >> 20) MiB of each stream: `missingBytes` tells how many before `offset` are gone."
            ),
            scope: .exec, annotations: .reading, input: OutputInput.self,
            accepts: .input([
                Self.execID,
                .optional(
                    "stream", .oneOf(ExecStreamName.allCases.map(\.rawValue), "Which one.", default: "stdout")),
                .optional("offset", .integer(nil, "Of the first byte; -2000 gives the last 2000.", default: 0)),
                .optional("limit", .integer(1...Limits.outputPageBytes, "Bytes at most.", default: 32 * 1024)),
                .optional(
                    "encoding",
                    .oneOf(Encoding.allCases.map(\.rawValue), "base64 for output that is no text.", default: "text")),
            ]),
            answers: .output([
                .required("execId", .string()),
                .required("stream", .oneOf(ExecStreamName.allCases.map(\.rawValue))),
                .required("offset", .count("Of the first byte of `content`.")),
                .required("nextOffset", .count("Behind its last byte.")),
                .required("totalBytes", .count("Printed so far.")),
                .required("running", .boolean()),
                .required("missingBytes", .count("No longer kept, in front of `offset`.")),
                .required("content", .string()),
            ]), note: Self.note
        ) { input, context in
            var page = try await execs.page(
                of: input.execId, stream: input.stream ?? .stdout, from: input.offset ?? 0,
                limit: input.limit ?? 32 * 1024, context: context)
            let content =
                input.encoding == .base64 ? Data(page.bytes.readableBytesView).base64EncodedString() : page.text()
            return OutputAnswer(
                execId: input.execId, stream: page.stream, offset: page.offset, nextOffset: page.nextOffset,
                totalBytes: page.totalBytes, running: page.running,
                missingBytes: page.gap.map { $0.to - min($0.from, $0.to) } ?? 0, content: content)
        }
    }

    // MARK: kill

    struct KillInput: Decodable, Sendable {
        var execId: ExecID?
        var idempotencyKey: String?
        var signal: ShellSignal?
        var graceSec: Int?
    }

    struct KillAnswer: Encodable, Sendable {
        var execId: ExecID
        var receipt: ExecKillReceipt

        enum CodingKeys: String, CodingKey { case execId, everythingEnded, wasForced, exitCode, signal }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(execId, forKey: .execId)
            try fields.encode(receipt.everythingEnded, forKey: .everythingEnded)
            try fields.encode(receipt.wasForced, forKey: .wasForced)
            try fields.encode(receipt.result?.exitCode, forKey: .exitCode)
            try fields.encode(receipt.result?.signal, forKey: .signal)
        }
    }

    var kill: Operation {
        .make(
            "shell.kill",
            .init(
                "End a command",
                "Ends a command and everything that it started: SIGTERM, then after `graceSec` SIGKILL for all that is left, "
                    + "however it forked. `everythingEnded` is the receipt: no process of the command is left. With `signal` "
                    + "that signal is sent instead, and only SIGKILL ends everything. Of a command that has ended, what it left running in the "
                    + "background is ended. "
                    + "With `idempotencyKey` in place of `execId` the command that was asked for under that key is ended; when "
                    + "none has started yet, none will: a request that still comes with that key fails with cancelled."
            ),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: KillInput.self,
            accepts: .input([
                .optional("execId", .string("From shell.exec.", maximumBytes: 64)),
                .optional(
                    "idempotencyKey",
                    .string(
                        "The key of the shell.exec to cancel.", minimumBytes: 1, maximumBytes: Limits.onceKeyBytes)),
                .optional("signal", .oneOf(ShellSignal.allCases.map(\.rawValue), "Send just this signal.")),
                .optional(
                    "graceSec",
                    .integer(
                        0...Limits.execGraceLongestSeconds, "Seconds to end by itself.",
                        default: Limits.execGraceSeconds)
                ),
            ]),
            answers: .output([
                .required("execId", .string()),
                .required("everythingEnded", .boolean("No process that the command started is left.")),
                .required("wasForced", .boolean("SIGKILL was needed.")),
                .required("exitCode", .nullable(.integer())),
                .required("signal", .nullable(.string("The signal that ended the command."))),
            ]), note: Self.note,
            recording: { (answer: KillAnswer) in
                [
                    "everythingEnded": .bool(answer.receipt.everythingEnded),
                    "wasForced": .bool(answer.receipt.wasForced),
                ]
            }
        ) { input, context in
            let exec = try Self.target(input)
            guard let exec else {
                let record = try await once.cancel(input.idempotencyKey ?? "", in: context.principal.workspace)
                let grace = input.graceSec ?? Limits.execGraceSeconds
                let receipt = try await execs.cancel(record.exec, graceSeconds: grace, context: context)
                return KillAnswer(execId: record.exec, receipt: receipt)
            }
            let receipt = try await execs.kill(
                exec, signal: (input.signal ?? .terminate).number,
                graceSeconds: input.signal == nil ? input.graceSec ?? Limits.execGraceSeconds : nil, context: context)
            return KillAnswer(execId: exec, receipt: receipt)
        }
    }

    /// `nil` when a key is to be cancelled.
    private static func target(_ input: KillInput) throws -> ExecID? {
        guard (input.execId == nil) != (input.idempotencyKey == nil) else {
            throw FastableError(
                .unprocessable, "Give one of ‘execId’ and ‘idempotencyKey’.", details: ["field": "execId"])
        }
        guard input.idempotencyKey == nil || input.signal == nil else {
            throw FastableError(
                .unprocessable, "‘signal’ goes with ‘execId’ only.", details: ["field": "signal"])
        }
        return input.execId
    }
}

/// What may be sent to a command.
public enum ShellSignal: String, Decodable, Sendable, CaseIterable {
    case interrupt = "SIGINT"
    case hangup = "SIGHUP"
    case quit = "SIGQUIT"
    case terminate = "SIGTERM"
    case kill = "SIGKILL"
    case user1 = "SIGUSR1"
    case user2 = "SIGUSR2"

    public var number: Int32 {
        switch self {
        case .hangup: 1
        case .interrupt: 2
        case .quit: 3
        case .kill: 9
        case .user1: 10
        case .user2: 12
        case .terminate: 15
        }
    }
}
