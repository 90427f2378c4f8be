import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableIdentity
import FoundationEssentials

/// `nodes_*`: the build hosts. For operators.
struct NodeOperations: Sendable {
    let store: any Store
    let nodes: any NodeDirectory
    let enrollment: EnrollmentService
    let projects: ProjectService
    let conditions: NodeConditions
    let drainer: NodeDrainer

    var all: [Operation] { [list, get, cordon, uncordon, drain, remove, joinToken] }

    private struct Nothing: Decodable, Sendable {}

    struct NodeInput: Decodable, Sendable { var node: String }

    private static let nodeField = JSONSchema.Property.required(
        "node", .string("The node: its name or its id.", minimumBytes: 1, maximumBytes: 128))

    private static func note(_ input: JSONValue) -> Operation.Note {
        Operation.Note(input["node"]?.string?.shortened ?? "")
    }

    // MARK: reading

    struct ListAnswer: Encodable, Sendable { var nodes: [NodeView] }

    func views() async throws -> [NodeView] {
        let connected = Dictionary(nodes.connectedNodes().map { ($0.id, $0) }) { first, _ in first }
        let loads = try await projects.capacity.loads(for: .system)
        return try await store.nodes().map {
            NodeView($0, connection: connected[$0.id], load: loads[$0.id])
        }
    }

    private func detail(_ record: NodeRecord) async throws -> NodeDetailView {
        let load = try await projects.capacity.loads(for: .system)[record.id]
        var drain: NodeDrainView?
        if let wish = record.drain {
            drain = NodeDrainView(
                wish, left: load?.projects ?? 0, projects: try await drainer.report(on: record.id))
        }
        return NodeDetailView(
            record, connection: nodes.connectedNodes().first { $0.id == record.id }, load: load, drain: drain)
    }

    private var list: Operation {
        .make(
            "nodes_list", .init("List nodes", "Lists the build hosts with their state."), scope: .admin,
            annotations: .reading, input: Nothing.self, accepts: .input([]),
            answers: .output([.required("nodes", .array(NodeSchemas.node))]), visibleToAgents: false
        ) { _, _ in ListAnswer(nodes: try await views()) }
    }

    private var get: Operation {
        .make(
            "nodes_get", .init("Show a node", "Shows all that is known of one build host."), scope: .admin,
            annotations: .reading, input: NodeInput.self, accepts: .input([Self.nodeField]),
            answers: NodeSchemas.detail, visibleToAgents: false, note: Self.note
        ) { input, _ in try await detail(try await store.node(NodeKey(input.node))) }
    }

    // MARK: scheduling

    private var cordon: Operation {
        scheduling(
            "nodes_cordon", .init("Cordon a node", "Places no new projects on a node. What it has goes on."), .cordoned
        ) { node in await conditions.changed(node) }
    }

    private var uncordon: Operation {
        scheduling(
            "nodes_uncordon",
            .init(
                "Uncordon a node",
                "Places new projects on a node again. A drain is cancelled: projects that were not moved yet stay."),
            .ready
        ) { node in await drainer.cancel(node) }
    }

    private func scheduling(
        _ name: String, _ words: Operation.Words, _ scheduling: NodeRecord.Scheduling,
        _ after: @escaping @Sendable (NodeID) async -> Void
    ) -> Operation {
        .make(
            name, words, scope: .admin, annotations: .writing(idempotent: true), input: NodeInput.self,
            accepts: .input([Self.nodeField]), answers: NodeSchemas.detail, visibleToAgents: false, note: Self.note
        ) { input, _ in
            let record = try await store.node(NodeKey(input.node))
            let changed = try await store.setScheduling(scheduling, of: record.id)
            await after(record.id)
            return try await detail(changed)
        }
    }

    struct DrainInput: Decodable, Sendable {
        var node: String
        var deadlineSeconds: Int?
        var force: [String]?

        var forced: [ProjectID] {
            get throws {
                try (force ?? []).map { text in
                    guard let id = ProjectID(text) else { throw FastableError.missing(.project, text) }
                    return id
                }
            }
        }
    }

    private var drain: Operation {
        .make(
            "nodes_drain",
            .init(
                "Drain a node",
                "Cordons a node and moves all its projects to others, in the background: each is saved as a snapshot, which is checked "
                    + "and restored elsewhere, before the node gives it up. What works in a container is waited for, until "
                    + "`deadlineSeconds` are over: then commands are asked to end. /workspace is kept, and nothing else. A project that "
                    + "cannot be moved stays where it is, can be used, and is tried again; `nodes_get` tells why. `nodes_uncordon` cancels."
            ),
            scope: .admin, annotations: .writing(destructive: true, idempotent: true), input: DrainInput.self,
            accepts: .input([
                Self.nodeField,
                .optional(
                    "deadlineSeconds",
                    .integer(
                        0...Limits.drainDeadlineSecondsHighest,
                        "How long commands may go on; 0 ends them now. Unless given, as long as they like.")),
                .optional(
                    "force",
                    .array(
                        .string(nil, minimumBytes: 1, maximumBytes: 64),
                        "Ids of projects that go on from their newest verified snapshot when their content cannot be saved; what the node "
                            + "has of them is set aside on its host.", maximum: Limits.drainProjectsShown)),
            ]), answers: NodeSchemas.detail, visibleToAgents: false,
            note: { input in
                var note = Self.note(input)
                note.detail["deadlineSeconds"] = input["deadlineSeconds"]
                note.detail["force"] = input["force"]
                return note
            }
        ) { input, _ in
            let record = try await store.node(NodeKey(input.node))
            return try await detail(
                try await drainer.begin(record, deadlineSeconds: input.deadlineSeconds, forced: input.forced))
        }
    }

    // MARK: joining and leaving

    struct RemoveInput: Decodable, Sendable {
        var node: String
        var force: Bool?
    }

    struct RemoveAnswer: Encodable, Sendable {
        var id: NodeID
        var name: String
    }

    private var remove: Operation {
        .make(
            "nodes_remove",
            .init(
                "Remove a node",
                "Revokes a node's certificates and cuts its link. Fails with conflict when projects live on it, unless "
                    + "`force`: their files stay on that host, and the projects can only be deleted."),
            scope: .admin, annotations: .writing(destructive: true), input: RemoveInput.self,
            accepts: .input([
                Self.nodeField, .optional("force", .boolean("Also when projects live on it.", default: false)),
            ]),
            answers: .output([.required("id", .string()), .required("name", .string())]), visibleToAgents: false,
            note: Self.note
        ) { input, _ in
            let record = try await store.node(NodeKey(input.node))
            try await enrollment.remove(record, force: input.force ?? false)
            projects.placement.references.forget(record.id)
            await projects.kills.forget(record.id)
            await drainer.cancel(record.id)
            return RemoveAnswer(id: record.id, name: record.name)
        }
    }

    struct JoinTokenInput: Decodable, Sendable { var node: String? }

    struct JoinTokenAnswer: Encodable, Sendable {
        var token: String
        var expiresAt: Date
    }

    private var joinToken: Operation {
        .make(
            "nodes_join_token",
            .init(
                "Make a join token",
                "Makes a token with which one host can join as a node, once, within \(Limits.joinTokenSeconds / 60) minutes. "
                    + "It names the controller's address and pins its authority. It is shown only here. With `node`, that node "
                    + "joins again under its id, for example when its certificate ended while it was away: it keeps its projects, "
                    + "and all its earlier certificates are revoked when the token is used."),
            scope: .admin, annotations: .writing(), input: JoinTokenInput.self,
            accepts: .input([
                .optional(
                    "node",
                    .string("A node that joins again: its name or its id.", minimumBytes: 1, maximumBytes: 128))
            ]),
            answers: .output([
                .required("token", .string("Secret: give it to the host on a safe way.")),
                .required("expiresAt", .date("When it becomes worthless.")),
            ]), visibleToAgents: false, hasSecretAnswer: true, note: Self.note
        ) { input, _ in
            var node: NodeRecord?
            if let key = input.node { node = try await store.node(NodeKey(key)) }
            let made = try await enrollment.makeJoinToken(for: node)
            return JoinTokenAnswer(token: made.token.text.reveal(), expiresAt: made.expiresAt)
        }
    }
}
