import ControllerDomain
import ControllerStore
import FastableCore

/// `admin_*`: an operator stops the fleet, a node, or all new work. “Path B” is the way from agents and people to containers.
struct AdminOperations: Sendable {
    let kills: KillService
    let store: any Store

    var all: [Operation] { [killNode, killAll, disable, enable, idleSweep] }

    // MARK: killing

    private var killNode: Operation {
        .make(
            "admin_kill_node",
            .init("Kill a node's containers", "Ends every process of all containers of a node, like kill.project."),
            scope: .admin, annotations: .writing(destructive: true, idempotent: true),
            input: KillOperations.Input.self,
            accepts: .input(
                [
                    .required(
                        "node", .string("The node: its name or its id.", minimumBytes: 1, maximumBytes: 128))
                ] + KillOperations.fields), answers: KillReport.schema, visibleToAgents: false,
            note: KillOperations.note, recording: \.record
        ) { input, context in
            let node = try await store.node(NodeKey(input.node ?? ""))
            return try await run(input, .node(node.id), context)
        }
    }

    private var killAll: Operation {
        .make(
            "admin_kill_all",
            .init("Kill all containers", "Ends every process of all containers of all nodes, like kill.project."),
            scope: .admin, annotations: .writing(destructive: true, idempotent: true),
            input: KillOperations.Input.self, accepts: .input(KillOperations.fields), answers: KillReport.schema,
            visibleToAgents: false, note: KillOperations.note, recording: \.record
        ) { input, context in try await run(input, .all, context) }
    }

    private func run(
        _ input: KillOperations.Input, _ scope: KillScope, _ context: OperationContext
    ) async throws -> KillReport {
        let order = try await KillOperations.order(input, scope, of: .system, kills)
        return try await KillOperations.run(order, isDry: input.dryRun, kills, context)
    }

    // MARK: path B

    struct DisableInput: Decodable, Sendable { var reason: String? }

    private var disable: Operation {
        .make(
            "admin_disable",
            .init(
                "Disable path B",
                "Lets nothing new begin anywhere: commands, containers and pushes are refused with unavailable. What runs goes "
                    + "on to its end."),
            scope: .admin, annotations: .writing(idempotent: true), input: DisableInput.self,
            accepts: .input([
                .optional(
                    "reason",
                    .string(
                        "Why: it goes into the audit, and whoever is refused is told.", minimumBytes: 1,
                        maximumBytes: Limits.killReasonBytes))
            ]), answers: KillReport.schema, visibleToAgents: false, note: KillOperations.note, recording: \.record
        ) { input, context in
            let order = KillService.Order(
                scope: .all, mode: .noNewWork, holds: true,
                reason: try KillOperations.checked(input.reason ?? "No reason was given."), workspace: .system,
                concerned: try await kills.concerned(.all, of: .system))
            return try await KillOperations.run(order, isDry: false, kills, context)
        }
    }

    struct EnableAnswer: Encodable, Sendable {
        /// It was disabled before.
        var changed: Bool
        var acknowledged: [String]
        var missing: [String]
    }

    private var enable: Operation {
        .make(
            "admin_enable",
            .init("Enable path B", "Lets new work begin again. Other kill switches stay as they are."),
            scope: .admin, annotations: .writing(idempotent: true), input: KillOperations.Nothing.self,
            accepts: .input([]),
            answers: .output([
                .required("changed", .boolean("It was disabled before.")),
                .required("acknowledged", .array(.string(), "Nodes on which work begins again.")),
                .required("missing", .array(.string(), "Nodes that hear of it when they are back.")),
            ]), visibleToAgents: false,
            recording: { (answer: EnableAnswer) in
                ["changed": .bool(answer.changed), "missing": .array(answer.missing.map(JSONValue.string))]
            }
        ) { _, context in
            let names = try await kills.nodeNames()
            var answer = EnableAnswer(changed: false, acknowledged: [], missing: [])
            for record in try await kills.active where record.held.isPathB {
                let told = try await kills.lift(record, concerned: names.keys.sorted(), context)
                let report = KillReport(told, names: names)
                answer = EnableAnswer(
                    changed: true, acknowledged: report.acknowledged.map(\.name), missing: report.missing.map(\.name))
            }
            return answer
        }
    }

    // MARK: idle containers

    struct SweepInput: Decodable, Sendable { var minutes: Int? }

    struct SweepAnswer: Encodable, Sendable {
        struct Node: Encodable, Sendable {
            var name: String
            var suspended: Int
            var stopped: Int
            var kept: Int
        }

        var suspended = 0
        var stopped = 0
        var kept = 0
        var nodes: [Node] = []
        var missing: [String] = []
    }

    private var idleSweep: Operation {
        .make(
            "admin_idle_sweep",
            .init(
                "Put idle containers to rest",
                "Asks every node to suspend the containers that nobody has used for `minutes`. Containers that run a "
                    + "command go on."),
            scope: .admin, annotations: .writing(idempotent: true), input: SweepInput.self,
            accepts: .input([
                .optional(
                    "minutes",
                    .integer(
                        0...Limits.idleSweepMinutesHighest, "How long nobody has used them.",
                        default: Limits.idleSweepMinutes))
            ]), answers: Self.sweepSchema, visibleToAgents: false,
            note: { input in Operation.Note("", input["minutes"].map { ["minutes": $0] } ?? [:]) },
            recording: { (answer: SweepAnswer) in
                ["suspended": .integer(Int64(answer.suspended)), "stopped": .integer(Int64(answer.stopped))]
            }
        ) { input, context in
            let names = try await kills.nodeNames()
            let swept = try await kills.sweepIdle(
                minutes: input.minutes ?? Limits.idleSweepMinutes, request: context.requestID)
            var answer = SweepAnswer()
            for one in swept {
                let name = names[one.node] ?? one.node.description
                guard case .success(let counts) = one.result else {
                    answer.missing.append(name)
                    continue
                }
                answer.suspended += counts.suspended
                answer.stopped += counts.stopped
                answer.kept += counts.kept
                answer.nodes.append(
                    .init(name: name, suspended: counts.suspended, stopped: counts.stopped, kept: counts.kept))
            }
            return answer
        }
    }

    private static let counts: [JSONSchema.Property] = [
        .required("suspended", .count("Containers that were suspended.")),
        .required("stopped", .count("Containers that were stopped.")),
        .required("kept", .count("Containers that something uses, or did lately.")),
    ]

    private static let sweepSchema = JSONSchema.output(
        counts + [
            .required("nodes", .array(.output([.required("name", .string())] + counts))),
            .required("missing", .array(.string(), "Nodes that did not answer.")),
        ])
}
