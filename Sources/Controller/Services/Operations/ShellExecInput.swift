import ControllerDomain
import FastableCore
import FoundationEssentials
import NIOCore

/// What `shell.exec` takes, besides the project.
struct ShellExecInput: Decodable, Sendable {
    var cmd: Words
    var cwd: String?
    var timeoutSec: Int?
    var env: [String: String]?
    var stdin: String?
    var detach: Bool?
    var openStdin: Bool?
    var tty: TerminalSize?
    var user: String?
    var secretEnv: [String: String]?
    var overflow: ExecOverflow?
    var startBy: Date?

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

        var text: String {
            switch self {
            case .line(let line): line
            case .arguments(let words): words.joined(separator: " ")
            }
        }
    }

    static let cmdSchema = JSONSchema.anyOf(
        [
            .string(minimumBytes: 1, maximumBytes: Limits.execArgumentBytes),
            .array(.string(), minimum: 1, maximum: Limits.execArguments),
        ], "A command line for bash, or a program and its arguments.")
    static let cwdSchema = JSONSchema.string(
        "Directory to run in: absolute, or relative to /workspace, which is the default.",
        maximumBytes: Limits.pathBytes)

    var isDetached: Bool { detach ?? false }

    func order() throws -> ExecService.Order {
        if let user { _ = try ExecUserName(user) }
        // The answer to who waits has no place for gaps.
        try Self.require(
            overflow != .drop || isDetached, "overflow", "can be ‘drop’ only with ‘detach’: attach to the command then")
        let command = ExecCommand(
            arguments: try arguments(), workingDirectory: try directory(), environment: env ?? [:],
            timeoutMilliseconds: try timeoutSeconds() * 1000, takesInput: try takesInput(), terminal: tty,
            user: user, secrets: try secrets(), overflow: overflow ?? .slow)
        try Rules.environment(command.environment, field: "env")
        return ExecService.Order(
            command: command, input: stdin.map { ByteBuffer(string: $0) },
            line: (command.secrets?.masking(cmd.text) ?? cmd.text).cut(to: Limits.auditCommandCharacters),
            startBy: startBy)
    }

    private func secrets() throws -> ExecSecrets? {
        guard let secretEnv, !secretEnv.isEmpty else { return nil }
        try Rules.environment(secretEnv, field: "secretEnv")
        if let twice = secretEnv.keys.filter({ env?[$0] != nil }).min() {
            try Self.require(false, "secretEnv.\(twice)", "stands in ‘env’ as well")
        }
        let secrets = ExecSecrets(secretEnv)
        try secrets.validate(field: "secretEnv")
        return secrets
    }

    /// Whoever waits gets an answer within the time of a request; a command that goes on by itself may take days.
    private func timeoutSeconds() throws -> Int {
        let longest = isDetached ? Limits.detachedExecTimeoutLongestSeconds : Limits.execTimeoutLongestSeconds
        let usual = isDetached ? Limits.detachedExecTimeoutDefaultSeconds : Limits.execTimeoutDefaultSeconds
        let seconds = timeoutSec ?? usual
        try Self.require(
            seconds <= longest, "timeoutSec",
            "must be at most \(longest) for a command that is waited for; set ‘detach’")
        return seconds
    }

    private func takesInput() throws -> Bool {
        let isOpen = openStdin ?? (tty != nil)
        try Self.require(
            !isOpen || isDetached, openStdin == nil ? "tty" : "openStdin", "needs ‘detach’: attach to the command then")
        try Self.require(!isOpen || stdin == nil, "stdin", "cannot be given when the input is to stay open")
        return isOpen || stdin != nil
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
