import ControllerDomain
import FastableCore
import FoundationEssentials

/// A dev server as it is shown.
struct DevServerView: Encodable, Sendable {
    var name: String
    var state: SupervisedStatus.State
    var cmd: String
    var cwd: String
    /// Names only: values may be secrets.
    var env: [String]
    var execId: ExecID?
    var failures: Int
    var retryAt: Date?
    var problem: String?

    /// - Parameter status: absent while its node has not told anything of it.
    init(_ process: SupervisedProcess, _ status: SupervisedStatus?) {
        name = process.name
        state = process.isWanted ? status?.state ?? .resting : .stopped
        cmd = process.line
        cwd = process.workingDirectory
        env = process.environment.keys.sorted()
        execId = status?.exec
        failures = status?.failures ?? 0
        retryAt = status?.retryAt
        problem = status?.problem
    }

    static let schema = JSONSchema.output([
        .required("name", .string()),
        .required(
            "state",
            .oneOf(
                SupervisedStatus.State.allCases.map(\.rawValue),
                "waiting: it has ended by itself and is started again at `retryAt`; resting: it runs when its container does."
            )),
        .required("cmd", .string()),
        .required("cwd", .string()),
        .required("env", .array(.string(), "Names of its variables.")),
        .optional("execId", .string("Its present run, or the last: for shell.output, shell.wait and attaching.")),
        .required("failures", .count("How often in a row it has ended soon after its start.")),
        .optional("retryAt", .date("When it is started again.")),
        .optional("problem", .string("Why it could not be started.")),
    ])
}

extension SupervisedProcess {
    /// As people wrote it.
    var line: String {
        let words = arguments.starts(with: ExecCommand.shell("").dropLast()) ? Array(arguments.dropFirst(2)) : arguments
        return words.joined(separator: " ").cut(to: Limits.auditCommandCharacters)
    }
}
