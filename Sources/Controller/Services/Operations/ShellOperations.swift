import ControllerDomain
import FastableCore
import FoundationEssentials
import NIOCore

/// `shell.*`: commands in a project's container.
struct ShellOperations: Sendable {
    let execs: ExecService
    let once: OnceService

    var all: [Operation] { [exec, list, wait, output, kill] }

    private var exec: Operation {
        .onProject(
            "shell.exec",
            .init(
                "Run a command",
                "Runs a command in the project's container and waits for its end; the container is made at the first use. A "
                    + "string is run by bash, a list is a program and its arguments without a shell. A failing command is no "
                    + "error: look at `exitCode`. When `timeoutSec` has passed it gets SIGTERM, then is killed with all its "
                    + "descendants, and `timedOut` is true. Of stdout and of stderr the first and the last "
                    + "\(Limits.toolOutputBytes / 2) bytes are given, and `truncated` tells that the middle was cut: "
                    + "`omitted` tells which bytes, and shell.output gives them. For servers and long work set `detach`: the answer comes at once, and "
                    + "shell.wait, shell.output, shell.list and shell.kill take its `execId`. Fails with unavailable when the "
                    + "project's node is offline."
            ),
            scope: .exec, annotations: .writing(destructive: true, openWorld: true), input: ShellExecInput.self,
            fields: [
                .required("cmd", ShellExecInput.cmdSchema), .optional("cwd", ShellExecInput.cwdSchema),
                .optional(
                    "timeoutSec",
                    .integer(
                        1...Limits.detachedExecTimeoutLongestSeconds,
                        "Seconds until the command is ended: \(Limits.execTimeoutDefaultSeconds) unless given, at most "
                            + "\(Limits.execTimeoutLongestSeconds); with `detach` "
                            + "\(Limits.detachedExecTimeoutDefaultSeconds) unless given.")),
                .optional(
                    "env",
                    .map(.string(), "Variables, over those of the project.", maximum: Limits.execEnvironmentEntries)),
                .optional(
                    "secretEnv",
                    .map(
                        .string(),
                        "Variables whose values are secret, of \(Limits.secretBytesLeast) to \(Limits.secretBytes) bytes: they are "
                            + "recorded nowhere, and what the command prints of them is masked, as are their base64, "
                            + "percent-encoded and JSON forms.", maximum: Limits.execSecrets)),
                .optional(
                    "stdin",
                    .string(
                        "Text for its standard input, which ends behind it. Without this it reads an end of file.",
                        maximumBytes: Limits.execInputTextBytes)),
                .optional("detach", .boolean("Answer as soon as it runs, and let it go on.", default: false)),
                .optional(
                    "openStdin", .boolean("Keep its standard input open, for those who attach to it.", default: false)),
                .optional(
                    "tty",
                    .input(
                        [
                            .required("rows", .integer(Limits.terminalRowsOrColumns, "Lines.")),
                            .required("columns", .integer(Limits.terminalRowsOrColumns, "Characters in a line.")),
                        ], "Run it in a terminal of this size; for people who attach to it.")),
                .optional(
                    "startBy",
                    .date(
                        "When it has not started by then, since it had to wait for its node or container, it never will, and this "
                            + "fails with timeout: also for a retry under the same idempotency key.")),
                .optional(
                    "user",
                    .string(
                        "Whom to run it as: the name of a user of the container, a uid, or uid:gid. Root unless given.",
                        minimumBytes: 1, maximumBytes: Limits.userNameBytes)),
                .optional(
                    "overflow",
                    .oneOf(
                        ExecOverflow.allCases.map(\.rawValue),
                        "What happens when it prints more than the \(Limits.execOutputKeptBytes >> 20) MiB that are kept of each "
                            + "stream. `slow`: it is slowed down while somebody follows it and for "
                            + "\(Limits.execReaderGraceSeconds) s after the last one vanished; then the oldest bytes go. `drop`: "
                            + "the oldest bytes go at once, and who follows it is told which; it needs `detach`.",
                        default: ExecOverflow.slow.rawValue)),
            ], answers: ShellAnswer.schema, runsCommand: true, note: Self.note,
            recording: { (answer: ShellAnswer) in
                guard let result = answer.result else {
                    return ["execId": .string(answer.exec.description), "running": true]
                }
                var detail: [String: JSONValue] = [
                    "execId": .string(result.exec.description),
                    "exitCode": result.exitCode.map { .integer(Int64($0)) } ?? .null,
                    "signal": result.signal.map(JSONValue.string) ?? .null, "timedOut": .bool(result.timedOut),
                ]
                detail["limitHit"] = result.limitHit.map { .string($0.limit.rawValue) }
                return detail
            }
        ) { input, project, context in
            let order = try input.order()
            guard !input.isDetached else {
                let exec = try await execs.start(order, in: project, for: .init(context))
                return ShellAnswer(started: exec)
            }
            let outcome = try await execs.run(
                order, in: project, for: .init(context), collectsOutput: context.collectsOutput,
                listener: context.events)
            return ShellAnswer(outcome)
        }
    }

    /// The command's text is kept, the values of its variables are not.
    private static func note(_ input: JSONValue) -> Operation.Note {
        let words = input["cmd"]?.string ?? input["cmd"]?.array?.compactMap(\.string).joined(separator: " ") ?? ""
        let secretEnv = input["secretEnv"]?.object ?? [:]
        let secrets = ExecSecrets(secretEnv.compactMapValues(\.string))
        var detail: [String: JSONValue] = [
            "cmd": .string(secrets.masking(words).cut(to: Limits.auditCommandCharacters))
        ]
        if let cwd = input["cwd"]?.string {
            detail["cwd"] = .string(secrets.masking(cwd).cut(to: Limits.auditPathCharacters))
        }
        if let user = input["user"]?.string { detail["user"] = .string(user.shortened) }
        if let env = input["env"]?.object, !env.isEmpty {
            detail["env"] = .array(env.keys.sorted().map { .string($0.shortened) })
        }
        if !secretEnv.isEmpty { detail["secretEnv"] = .array(secretEnv.keys.sorted().map { .string($0.shortened) }) }
        return Operation.Note("", detail)
    }
}
