import ControllerDomain
import FastableCore
import FoundationEssentials

/// `shell.*`: commands in a project's container.
struct ShellOperations: Sendable {
    let execs: ExecService

    var all: [Operation] { [exec, kill] }

    /// What `shell.exec` takes, besides the project.
    struct ExecInput: Decodable, Sendable {
        var cmd: Words
        var cwd: String?
        var timeoutSec: Int?
        var env: [String: String]?

        /// A shell's command line, or a program and its arguments.
        enum Words: Decodable, Sendable {
            case line(String)
            case arguments([String])

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                if let line = try? container.decode(String.self) {
                    self = .line(line)
                } else {
                    self = .arguments(try container.decode([String].self))
                }
            }
        }

        func command() throws -> ExecCommand {
            let command = ExecCommand(
                arguments: try arguments(), workingDirectory: try directory(), environment: env ?? [:],
                timeoutMilliseconds: (timeoutSec ?? Limits.execTimeoutDefaultSeconds) * 1000)
            try Rules.environment(command.environment, field: "env")
            return command
        }

        private func arguments() throws -> [String] {
            let arguments: [String]
            switch cmd {
            case .line(let line): arguments = ExecCommand.shell(line)
            case .arguments(let list): arguments = list
            }
            try Self.require(!(arguments.first ?? "").isEmpty, "cmd", "must name a program first")
            try Self.require(!arguments.contains { $0.utf8.contains(0) }, "cmd", "must not have a NUL character")
            let bytes = arguments.reduce(0) { $0 + $1.utf8.count + 1 }
            guard bytes <= Limits.execArgumentBytes else {
                throw FastableError(
                    .tooLarge,
                    "The command is longer than \(Limits.execArgumentBytes) bytes. Write a script with fs.write and run that.",
                    details: ["field": "cmd", "limit": .integer(Int64(Limits.execArgumentBytes))])
            }
            return arguments
        }

        /// Absolute as it is, everything else below `/workspace`.
        private func directory() throws -> String {
            guard let cwd, !cwd.isEmpty else { return "/workspace" }
            try Self.require(!cwd.utf8.contains(0), "cwd", "must not have a NUL character")
            return cwd.hasPrefix("/") ? cwd : "/workspace/\(cwd)"
        }

        private static func require(_ fits: Bool, _ field: String, _ rule: String) throws {
            guard !fits else { return }
            throw FastableError(.unprocessable, "The field ‘\(field)’ \(rule).", details: ["field": .string(field)])
        }
    }

    /// How a command ended. `exitCode` and `signal` are written as `null` when they do not apply.
    struct ExecAnswer: Encodable, Sendable {
        var outcome: ExecService.Outcome

        enum CodingKeys: String, CodingKey {
            case execId, exitCode, signal, stdout, stderr, truncated, durationMs, timedOut, stdoutBytes, stderrBytes
        }

        func encode(to encoder: any Encoder) throws {
            let result = outcome.result
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(result.exec, forKey: .execId)
            try fields.encode(result.exitCode, forKey: .exitCode)
            try fields.encode(result.signal, forKey: .signal)
            try fields.encode(outcome.stdout.text, forKey: .stdout)
            try fields.encode(outcome.stderr.text, forKey: .stderr)
            try fields.encode(outcome.stdout.isCut || outcome.stderr.isCut, forKey: .truncated)
            try fields.encode(result.durationMilliseconds, forKey: .durationMs)
            try fields.encode(result.timedOut, forKey: .timedOut)
            try fields.encode(result.stdoutBytes, forKey: .stdoutBytes)
            try fields.encode(result.stderrBytes, forKey: .stderrBytes)
        }
    }

    private var exec: Operation {
        .onProject(
            "shell.exec",
            .init(
                "Run a command",
                "Runs a command in the project's container and waits for its end; the container is made at the first use. A "
                    + "string is run by bash, a list is a program and its arguments without a shell. The command has no "
                    + "standard input and no terminal. A failing command is no error: look at `exitCode`. When "
                    + "`timeoutSec` has passed it is killed with all its descendants and `timedOut` is true. Of "
                    + "stdout and of stderr the first and the last \(Limits.toolOutputBytes / 2) bytes are given, and "
                    + "`truncated` tells that the middle was cut. Fails with unavailable when the project's node is offline."
            ),
            scope: .exec, annotations: .writing(destructive: true, openWorld: true), input: ExecInput.self,
            fields: [
                .required(
                    "cmd",
                    .anyOf(
                        [
                            .string(minimumBytes: 1, maximumBytes: Limits.execArgumentBytes),
                            .array(.string(), minimum: 1, maximum: Limits.execArguments),
                        ], "A command line for bash, or a program and its arguments.")),
                .optional(
                    "cwd",
                    .string(
                        "Directory to run in: absolute, or relative to /workspace, which is the default.",
                        maximumBytes: Limits.pathBytes)),
                .optional(
                    "timeoutSec",
                    .integer(
                        1...Limits.execTimeoutLongestSeconds, "Seconds until the command is killed.",
                        default: Limits.execTimeoutDefaultSeconds)),
                .optional(
                    "env",
                    .map(.string(), "Variables, over those of the project.", maximum: Limits.execEnvironmentEntries)),
            ], answers: Self.answer, runsCommand: true, note: Self.note,
            recording: { (answer: ExecAnswer) in
                let result = answer.outcome.result
                return [
                    "execId": .string(result.exec.description),
                    "exitCode": result.exitCode.map { .integer(Int64($0)) } ?? .null,
                    "signal": result.signal.map(JSONValue.string) ?? .null, "timedOut": .bool(result.timedOut),
                ]
            }
        ) { input, project, context in
            let outcome = try await execs.run(
                try input.command(), in: project, request: context.requestID, collectsOutput: context.collectsOutput,
                attempt: context.attempt, listener: context.events)
            return ExecAnswer(outcome: outcome)
        }
    }

    private static let answer = JSONSchema.output([
        .required("execId", .string("Names this run, for its status and output later.")),
        .required("exitCode", .nullable(.integer(nil, "0 means success; null when a signal ended it."))),
        .required("signal", .nullable(.string("The signal that ended it, such as SIGKILL."))),
        .required("stdout", .string()),
        .required("stderr", .string()),
        .required("truncated", .boolean("The middle of stdout or stderr was cut.")),
        .required("durationMs", .number(nil, "Milliseconds.")),
        .required("timedOut", .boolean("It was killed because `timeoutSec` had passed.")),
        .required("stdoutBytes", .count("Bytes in all, also those that were cut.")),
        .required("stderrBytes", .count("Bytes in all, also those that were cut.")),
    ])

    /// The command's text is kept, the values of its variables are not.
    private static func note(_ input: JSONValue) -> Operation.Note {
        let words = input["cmd"]?.string ?? input["cmd"]?.array?.compactMap(\.string).joined(separator: " ") ?? ""
        var detail: [String: JSONValue] = ["cmd": .string(words.cut(to: Limits.auditCommandCharacters))]
        if let cwd = input["cwd"]?.string { detail["cwd"] = .string(cwd.cut(to: Limits.auditPathCharacters)) }
        if let env = input["env"]?.object, !env.isEmpty {
            detail["env"] = .array(env.keys.sorted().map { .string($0.shortened) })
        }
        return Operation.Note("", detail)
    }

    // MARK: kill

    struct KillInput: Decodable, Sendable {
        var execId: ExecID
        var signal: Signal?
    }

    enum Signal: String, Decodable, Sendable, CaseIterable {
        case interrupt = "SIGINT"
        case hangup = "SIGHUP"
        case quit = "SIGQUIT"
        case terminate = "SIGTERM"
        case kill = "SIGKILL"
        case user1 = "SIGUSR1"
        case user2 = "SIGUSR2"

        var number: Int32 {
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

    private var kill: Operation {
        .make(
            "shell.kill",
            .init(
                "Signal a command",
                "Sends a signal to a command that was started with shell.exec. SIGKILL ends it with all its descendants. "
                    + "A command that has ended already is left alone."),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: KillInput.self,
            accepts: .input([
                .required("execId", .string("From shell.exec.", maximumBytes: 64)),
                .optional(
                    "signal", .oneOf(Signal.allCases.map(\.rawValue), "The signal.", default: Signal.kill.rawValue)),
            ]),
            answers: .output([.required("execId", .string())]), visibleToAgents: false,
            note: { Operation.Note($0["execId"]?.string?.shortened ?? "") }
        ) { input, context in
            try await execs.signal(input.execId, (input.signal ?? .kill).number, context: context)
            return ["execId": input.execId.description]
        }
    }
}
