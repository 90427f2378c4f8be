import ControllerDomain
import ControllerStore
import FastableCore

/// `kill.*`: a workspace ends what is its own, at once and with proof.
struct KillOperations: Sendable {
    let kills: KillService
    let store: any Store

    var all: [Operation] { [exec, project, workspace, list, lift] }

    /// What the operations that switch something on have in common.
    struct Input: Decodable, Sendable {
        var execId: ExecID?
        var workspace: String?
        var node: String?
        var reason: String
        var hold: Bool?
        var networkOnly: Bool?
        var dryRun: Bool?
    }

    static let reason = JSONSchema.Property.required(
        "reason",
        .string(
            "Why: it goes into the audit, and whoever is refused is told.", minimumBytes: 1,
            maximumBytes: Limits.killReasonBytes))
    private static let dryRun = JSONSchema.Property.optional(
        "dryRun", .boolean("Only tell what would be ended.", default: false))

    static let fields: [JSONSchema.Property] = [
        reason,
        .optional("hold", .boolean("Nothing starts in the scope until the switch is lifted.", default: false)),
        .optional(
            "networkOnly",
            .boolean("Containers go on, and no packet goes in or out until the switch is lifted.", default: false)),
        dryRun,
    ]

    static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        for field in ["reason", "hold", "networkOnly", "dryRun"] { detail[field] = input[field] }
        let subject = ["execId", "id", "node", "workspace"].lazy.compactMap { input[$0]?.string }.first ?? ""
        return Operation.Note(subject.shortened, detail)
    }

    static func order(
        _ input: Input, _ scope: KillScope, of workspace: WorkspaceID, _ kills: KillService
    ) async throws -> KillService.Order {
        guard input.networkOnly != true || input.hold != true else {
            throw FastableError(
                .unprocessable, "‘networkOnly’ stays until it is lifted anyway: leave ‘hold’ out.",
                details: ["field": "hold"])
        }
        let isNetwork = input.networkOnly ?? false
        return KillService.Order(
            scope: scope, mode: isNetwork ? .network : .kill, holds: isNetwork || input.hold ?? false,
            reason: try checked(input.reason), workspace: workspace,
            concerned: try await kills.concerned(scope, of: workspace))
    }

    /// It is shown in terminals.
    static func checked(_ reason: String) throws -> String {
        let isPlain = reason.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
        guard isPlain, reason.contains(where: { !$0.isWhitespace }) else {
            throw FastableError(
                .unprocessable, "The reason must be one line of text.", details: ["field": "reason"])
        }
        return reason
    }

    static func run(
        _ order: KillService.Order, isDry: Bool?, _ kills: KillService, _ context: OperationContext
    ) async throws -> KillReport {
        let names = try await kills.nodeNames()
        guard isDry != true else {
            let found = try await kills.containers(in: order.scope, of: order.workspace)
            return KillReport(dryRunOf: order, found: found, names: names)
        }
        return KillReport(try await kills.engage(order, context), names: names)
    }

    private func run(
        _ input: Input, _ scope: KillScope, of workspace: WorkspaceID, _ context: OperationContext
    ) async throws -> KillReport {
        let order = try await Self.order(input, scope, of: workspace, kills)
        return try await Self.run(order, isDry: input.dryRun, kills, context)
    }

    // MARK: on

    private var exec: Operation {
        .make(
            "kill.exec",
            .init(
                "Kill a command",
                "Ends a command with everything that it started, at once, also when its node is away: then as soon as that is "
                    + "back. `shell.kill` ends one more gently."),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: Input.self,
            accepts: .input([
                .required("execId", .string("From shell.exec.", maximumBytes: 64)), Self.reason, Self.dryRun,
            ]), answers: KillReport.schema, note: Self.note, recording: \.record
        ) { input, context in
            let handle = try await store.exec(
                input.execId ?? ExecID(), in: context.principal.workspace)
            return try await run(input, .exec(handle.id, of: handle.project), of: handle.workspace, context)
        }
    }

    private var project: Operation {
        .onProject(
            "kill.project",
            .init(
                "Kill a project's container",
                "Ends every process of the project's container within seconds, however it forked; files are kept. The answer "
                    + "lists the nodes that have done it, with a receipt for each container, and those that did not answer: they "
                    + "do it before anything else when they are back. With `hold` nothing starts again until kill.lift."
            ),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: Input.self,
            fields: Self.fields, answers: KillReport.schema, note: Self.note, recording: \.record
        ) { input, project, context in
            try await run(input, .project(project.id), of: project.workspace, context)
        }
    }

    private var workspace: Operation {
        .make(
            "kill.workspace",
            .init(
                "Kill a workspace's containers",
                "Ends every process of all containers of the workspace, like kill.project. An operator may name another "
                    + "workspace."),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: Input.self,
            accepts: .input(
                Self.fields + [
                    .optional(
                        "workspace",
                        .string("Its name or its id; your own unless given.", minimumBytes: 1, maximumBytes: 128))
                ]), answers: KillReport.schema, note: Self.note, recording: \.record
        ) { input, context in
            let workspace = try await store.workspace(named: input.workspace, for: context.principal).id
            return try await run(input, .workspace(workspace), of: workspace, context)
        }
    }

    // MARK: what is on, and off

    struct Nothing: Decodable, Sendable {}

    struct ListAnswer: Encodable, Sendable { var switches: [KillSwitchView] }

    private var list: Operation {
        .make(
            "kill.list",
            .init(
                "List kill switches",
                "Lists the kill switches that are on and reach the workspace, and for operators all, oldest first."),
            scope: .exec, annotations: .reading, input: Nothing.self, accepts: .input([]),
            answers: .output([.required("switches", .array(KillSwitchView.schema))])
        ) { _, context in
            let principal = context.principal
            let names = try await kills.nodeNames()
            let seen = try await kills.active.filter {
                principal.holds(.admin) || $0.workspace == principal.workspace || $0.held.scope == .all
            }
            return ListAnswer(switches: seen.map { KillSwitchView($0, names: names) })
        }
    }

    struct LiftInput: Decodable, Sendable { var id: KillSwitchID }

    private var lift: Operation {
        .make(
            "kill.lift",
            .init(
                "Lift a kill switch",
                "Switches a kill switch off: what it held may start again, and networks open. What an operator switched on "
                    + "only an operator lifts."),
            scope: .exec, annotations: .writing(), input: LiftInput.self,
            accepts: .input([.required("id", .string("From kill.list.", maximumBytes: 64))]),
            answers: KillReport.schema, note: Self.note, recording: \.record
        ) { input, context in
            let principal = context.principal
            let record = try await kills.active.first {
                $0.held.id == input.id && (principal.holds(.admin) || $0.workspace == principal.workspace)
            }
            guard let record else { throw FastableError.missing(.killSwitch, input.id.description) }
            guard record.held.owner == .workspace || principal.holds(.admin) else {
                throw FastableError(
                    .forbidden, "An operator has set ‘\(record.held.id)’, and only an operator lifts it.",
                    details: ["scope": .string(Scope.admin.rawValue)])
            }
            let nodes = (try? await kills.concerned(record.held.scope, of: record.workspace)) ?? []
            let told = try await kills.lift(
                record, concerned: Set(nodes + record.awaited).sorted(), context)
            return KillReport(told, names: try await kills.nodeNames())
        }
    }
}
