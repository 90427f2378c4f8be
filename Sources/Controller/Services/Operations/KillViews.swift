import ControllerDomain
import FastableCore
import FoundationEssentials

/// What a kill switch has done, and which nodes have said so.
struct KillReport: Encodable, Sendable {
    struct Acknowledged: Encodable, Sendable {
        var node: NodeID
        var name: String
        var milliseconds: Int
        var containers: Int
        var execs: Int
        /// Containers of which processes may be left.
        var unconfirmed: Int
        var isStored: Bool
        var problem: String?
        var receipts: [KillReceipt]
    }

    struct Missing: Encodable, Sendable {
        var node: NodeID
        var name: String
        var why: String
    }

    struct Found: Encodable, Sendable {
        var node: NodeID
        var name: String
        var project: ProjectID
        var container: ContainerID?
        var execs: Int
    }

    var id: KillSwitchID?
    var scope: KillScope.Kind
    var target: String?
    var mode: KillSwitch.Mode
    var holds: Bool
    var dryRun = false
    var containers = 0
    var execs = 0
    var unconfirmed = 0
    var acknowledged: [Acknowledged] = []
    var missing: [Missing] = []
    /// What a dry run found.
    var found: [Found] = []

    init(_ held: KillSwitch) {
        id = held.id
        scope = held.scope.kind
        target = held.scope.target
        mode = held.mode
        holds = held.holds
    }

    init(_ told: KillService.Told, names: [NodeID: String]) {
        self.init(told.record.held)
        var room = Limits.pageRows
        for outcome in told.outcomes {
            let name = names[outcome.node] ?? outcome.node.description
            switch outcome.result {
            case .failure(let error):
                missing.append(Missing(node: outcome.node, name: name, why: error.message))
            case .success(let answer):
                let receipts = answer.receipts
                acknowledged.append(
                    Acknowledged(
                        node: outcome.node, name: name, milliseconds: Int(outcome.took.milliseconds),
                        containers: receipts.count { $0.container != nil }, execs: receipts.reduce(0) { $0 + $1.execs },
                        unconfirmed: receipts.count { $0.effect == .unconfirmed }, isStored: answer.state.isStored,
                        problem: answer.problem, receipts: Array(receipts.prefix(room))))
                room -= min(room, receipts.count)
            }
        }
        containers = acknowledged.reduce(0) { $0 + $1.containers }
        execs = acknowledged.reduce(0) { $0 + $1.execs }
        unconfirmed = acknowledged.reduce(0) { $0 + $1.unconfirmed }
    }

    /// A dry run: what is there, and nothing done.
    init(dryRunOf order: KillService.Order, found: [KillService.KillTarget], names: [NodeID: String]) {
        id = nil
        scope = order.scope.kind
        target = order.scope.target
        mode = order.mode
        holds = order.holds
        dryRun = true
        containers = found.count
        execs = found.reduce(0) { $0 + $1.status.runningExecs }
        self.found = found.prefix(Limits.pageRows).map {
            Found(
                node: $0.node, name: names[$0.node] ?? $0.node.description, project: $0.status.project,
                container: $0.status.container, execs: $0.status.runningExecs)
        }
    }

    /// What the audit keeps.
    var record: [String: JSONValue] {
        var record: [String: JSONValue] = [
            "acknowledged": .array(acknowledged.map { .string($0.name) }),
            "missing": .array(missing.map { .string($0.name) }), "containers": .integer(Int64(containers)),
            "execs": .integer(Int64(execs)), "unconfirmed": .integer(Int64(unconfirmed)),
        ]
        record["killSwitch"] = id.map { .string($0.description) }
        return record
    }

    static let schema = JSONSchema.output([
        .optional("id", .string("The switch; absent for a dry run.")),
        .required("scope", .oneOf(KillScope.Kind.allCases.map(\.rawValue))),
        .optional("target", .string("The id of what was meant; absent for everything.")),
        .required("mode", .oneOf(KillSwitch.Mode.allCases.map(\.rawValue))),
        .required("holds", .boolean("It stays on until it is lifted.")),
        .required("dryRun", .boolean("Nothing was done.")),
        .required("containers", .count("Containers that it found.")),
        .required("execs", .count("Commands that ran in them.")),
        .required("unconfirmed", .count("Containers of which processes may be left; the nodes go on trying.")),
        .required("acknowledged", .array(acknowledgement, "Nodes that have put it in force.")),
        .required(
            "missing",
            .array(
                .output([.required("node", .string()), .required("name", .string()), .required("why", .string())]),
                "Nodes that did not answer in time. They put it in force before anything else when they are back.")),
        .required(
            "found",
            .array(
                .output([
                    .required("node", .string()), .required("name", .string()), .required("project", .string()),
                    .optional("container", .string()), .required("execs", .count()),
                ]), "What a dry run found, by the last reports of the nodes.")),
    ])

    private static let acknowledgement = JSONSchema.output([
        .required("node", .string()),
        .required("name", .string()),
        .required("milliseconds", .count("Until it answered.")),
        .required("containers", .count()),
        .required("execs", .count()),
        .required("unconfirmed", .count()),
        .required("isStored", .boolean("It stands on the node's disk and survives its restart.")),
        .optional("problem", .string("What did not work.")),
        .required(
            "receipts",
            .array(
                .output([
                    .required("project", .string()), .optional("container", .string()), .optional("exec", .string()),
                    .required("execs", .count("Commands that ran in it.")),
                    .required(
                        "effect",
                        .oneOf(
                            KillReceipt.Effect.allCases.map(\.rawValue), "`ended`: no process of it is left.")),
                ]), "One for each container, \(Limits.pageRows) in all at most.")),
    ])
}

/// A switch that is on.
struct KillSwitchView: Encodable, Sendable {
    var id: KillSwitchID
    var scope: KillScope.Kind
    var target: String?
    var mode: KillSwitch.Mode
    var holds: Bool
    var reason: String
    var by: String
    var owner: KillSwitch.Owner
    var since: Date
    var awaited: [String]

    init(_ record: KillSwitchRecord, names: [NodeID: String]) {
        let held = record.held
        id = held.id
        scope = held.scope.kind
        target = held.scope.target
        mode = held.mode
        holds = held.holds
        reason = held.reason
        by = held.by
        owner = held.owner
        since = held.since
        awaited = record.awaited.map { names[$0] ?? $0.description }
    }

    static let schema = JSONSchema.output([
        .required("id", .string()),
        .required("scope", .oneOf(KillScope.Kind.allCases.map(\.rawValue))),
        .optional("target", .string()),
        .required("mode", .oneOf(KillSwitch.Mode.allCases.map(\.rawValue))),
        .required("holds", .boolean()),
        .required("reason", .string()),
        .required("by", .string("The token's name.")),
        .required("owner", .oneOf(KillSwitch.Owner.allCases.map(\.rawValue), "Who may lift it.")),
        .required("since", .date("When it was switched on.")),
        .required("awaited", .array(.string(), "Nodes that have not put it in force yet.")),
    ])
}

/// The switch that somebody set on a node's host.
struct LocalKillSwitchView: Encodable, Sendable {
    var mode: KillSwitch.Mode
    var reason: String
    var by: String
    var since: Date

    init(_ held: KillSwitch) {
        mode = held.mode
        reason = held.reason
        by = held.by
        since = held.since
    }

    static let schema = JSONSchema.output(
        [
            .required("mode", .oneOf(KillSwitch.Mode.allCases.map(\.rawValue))), .required("reason", .string()),
            .required("by", .string()), .required("since", .date("When it was switched on.")),
        ], "Set on the host itself, where alone it can be lifted: fastable-node kill-switch off.")
}
