import ControllerDomain
import ControllerFleet
import FastableCore
import FoundationEssentials

/// `dev_server.*`: programs that run whenever the project's container does.
struct DevServerOperations: Sendable {
    let projects: ProjectService
    let execs: ExecService

    var all: [Operation] { [start, stop, list, logs] }

    static let name = JSONSchema.Property.optional(
        "name",
        .string(
            "Which one: lower-case letters, digits and hyphens.", minimumBytes: 1,
            maximumBytes: Limits.supervisedNameCharacters, default: Self.usualName))
    static let usualName = "dev"

    /// The command's text is kept, the values of its variables are not.
    @Sendable private static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        let words = input["cmd"]?.string ?? input["cmd"]?.array?.compactMap(\.string).joined(separator: " ")
        if let words { detail["cmd"] = .string(words.cut(to: Limits.auditCommandCharacters)) }
        if let cwd = input["cwd"]?.string { detail["cwd"] = .string(cwd.cut(to: Limits.auditPathCharacters)) }
        if let env = input["env"]?.object, !env.isEmpty {
            detail["env"] = .array(env.keys.sorted().map { .string($0.shortened) })
        }
        for flag in ["restart", "forget"] { detail[flag] = input[flag] }
        return Operation.Note(input["name"]?.string?.shortened ?? usualName, detail)
    }

    // MARK: start

    struct StartInput: Decodable, Sendable {
        var name: String?
        var cmd: ShellExecInput.Words?
        var cwd: String?
        var env: [String: String]?
        var user: String?
        var restart: Bool?

        func process(_ name: String) throws -> SupervisedProcess? {
            guard let cmd else {
                guard cwd == nil, env == nil, user == nil else {
                    throw FastableError(
                        .unprocessable, "‘cwd’, ‘env’ and ‘user’ go with ‘cmd’ only.", details: ["field": "cmd"])
                }
                return nil
            }
            let command = try ShellExecInput(cmd: cmd, cwd: cwd, env: env, detach: true, user: user).order().command
            return SupervisedProcess(
                name: name, arguments: command.arguments, workingDirectory: command.workingDirectory,
                environment: command.environment, user: command.user)
        }
    }

    struct StartAnswer: Encodable, Sendable {
        var server: DevServerView
    }

    private var start: Operation {
        .onProject(
            "dev_server.start",
            .init(
                "Start a dev server",
                "Starts a program that runs whenever the project's container does: it is started again when it ends, and after the "
                    + "container was stopped, archived or moved. It keeps no idle container awake. Under a name that runs already, the same "
                    + "command changes nothing and another one takes its place; without `cmd` one that was stopped starts again. Returns when "
                    + "it was started; look at dev_server.logs for what it prints."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: StartInput.self,
            fields: [
                Self.name,
                .optional("cmd", ShellExecInput.cmdSchema), .optional("cwd", ShellExecInput.cwdSchema),
                .optional("env", .map(.string(), "Variables, on top of the project's.")),
                .optional("user", .string("Whom to run as: a name or `uid:gid`; root by default.", maximumBytes: 64)),
                .optional("restart", .boolean("End what runs, and start it anew.", default: false)),
            ],
            answers: .output([.required("server", DevServerView.schema)]), note: Self.note
        ) { input, project, context in
            let name = input.name ?? Self.usualName
            try Rules.projectName(name)
            let (changed, status) = try await projects.startDevServer(
                name, try input.process(name), isAnew: input.restart ?? false, of: project, context)
            guard let process = changed.supervised.first(where: { $0.name == name }) else {
                throw FastableError(.conflict, "The dev server ‘\(name)’ was removed meanwhile.")
            }
            try await remember(status, process, of: changed)
            return StartAnswer(server: DevServerView(process, status))
        }
    }

    // MARK: stop

    struct StopInput: Decodable, Sendable {
        var name: String?
        var forget: Bool?
    }

    struct StopAnswer: Encodable, Sendable {
        var name: String
        var everythingEnded: Bool
        var applied: Bool
    }

    private var stop: Operation {
        .onProject(
            "dev_server.stop",
            .init(
                "Stop a dev server",
                "Ends a dev server and everything that it started, and does not start it again before dev_server.start says so. "
                    + "`everythingEnded` is the receipt. With `forget` nothing is kept of it."
            ),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: StopInput.self,
            fields: [Self.name, .optional("forget", .boolean("Remove it from the list as well.", default: false))],
            answers: .output([
                .required("name", .string()),
                .required("everythingEnded", .boolean("No process of it is left.")),
                .required("applied", .boolean("Its node knows; otherwise it is told when it is back.")),
            ]), note: Self.note
        ) { input, project, context in
            let name = input.name ?? Self.usualName
            let (changed, before, applied) = try await projects.stopDevServer(
                name, forgets: input.forget ?? false, of: project, context)
            guard applied else { return StopAnswer(name: name, everythingEnded: false, applied: false) }
            // It may have been started again in between.
            let after = try await projects.devServers(of: changed, context).first { $0.name == name }
            let hasEnded = try await end(after ?? before, of: changed, context)
            return StopAnswer(name: name, everythingEnded: hasEnded, applied: true)
        }
    }

    /// Its node ends it by now; this tells when that is done. One that stands still is woken for it.
    private func end(_ run: SupervisedStatus?, of project: Project, _ context: OperationContext) async throws -> Bool {
        guard let exec = run?.exec, let node = project.node else { return true }
        let kill = ExecKill(
            project: project.id, exec: exec, signal: 15, graceMilliseconds: Limits.supervisedGraceSeconds * 1000)
        do {
            return try await projects.nodes.client(for: node).call(
                .execKill, kill, returning: ExecKillReceipt.self, request: context.requestID,
                timeout: .seconds(Limits.nodeAnswerSeconds + Limits.supervisedGraceSeconds)
            ).everythingEnded
        } catch let error as FastableError where error.code == .notFound || error.code == .gone {
            return true
        }
    }

    // MARK: list

    private struct Nothing: Decodable, Sendable {}

    struct ListAnswer: Encodable, Sendable {
        var servers: [DevServerView]
    }

    private var list: Operation {
        .onProject(
            "dev_server.list",
            .init(
                "List dev servers",
                "Lists the programs that run whenever the project's container does, and how each of them is. Starts nothing."
            ),
            scope: .exec, annotations: .reading, input: Nothing.self, fields: [],
            answers: .output([.required("servers", .array(DevServerView.schema))])
        ) { _, project, context in
            let statuses = try await projects.devServers(of: project, context)
            return ListAnswer(
                servers: project.supervised.map { process in
                    DevServerView(process, statuses.first { $0.name == process.name })
                })
        }
    }
}
