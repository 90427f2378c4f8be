import ControllerDomain
import ControllerFleet
import FastableCore
import FoundationEssentials

/// A node in a list.
struct NodeView: Encodable, Sendable {
    var id: NodeID
    var name: String
    var state: NodeState
    /// Facts of the host; absent until the node connected once.
    var cgroup: CgroupMode?
    var runtime: String?
    var cpus: Int?
    var memoryBytes: Int?
    var projects: Int
    var lastSeenAt: Date?
    /// What somebody switched off on the host itself.
    var localKillSwitch: LocalKillSwitchView?

    init(_ record: NodeRecord, connection: ConnectedNode?, load: NodeLoad?) {
        let facts = connection?.facts ?? record.facts
        id = record.id
        name = record.name
        state = record.state(connected: connection != nil)
        cgroup = facts?.cgroup
        runtime = facts?.runtime
        cpus = facts?.cpus
        memoryBytes = facts?.memoryBytes
        projects = load?.projects ?? 0
        localKillSwitch = connection?.switches?.local.map(LocalKillSwitchView.init)
        lastSeenAt = connection == nil ? record.lastSeenAt : .nowMilliseconds
    }
}

/// All that is known of a node.
struct NodeDetailView: Encodable, Sendable {
    var node: NodeView
    var facts: NodeFacts?
    var connectedAt: Date?
    var linkVersion: Int?
    var joinedAt: Date
    var certificateExpiresAt: Date?
    var containers: [ContainerStatus]
    /// Sums of the limits of its projects.
    var promised: ResourceLimits

    enum CodingKeys: String, CodingKey {
        case facts, connectedAt, linkVersion, joinedAt, certificateExpiresAt, containers, promised
    }

    init(_ record: NodeRecord, connection: ConnectedNode?, load: NodeLoad?) {
        node = NodeView(record, connection: connection, load: load)
        facts = connection?.facts ?? record.facts
        connectedAt = connection?.connectedAt
        linkVersion = connection?.linkVersion
        joinedAt = record.createdAt
        certificateExpiresAt = record.certificateExpiresAt
        containers = connection?.containers ?? []
        promised = ResourceLimits(
            cpus: load?.cpus ?? 0, memoryBytes: load?.memoryBytes ?? 0, pids: load?.pids ?? 0)
    }

    func encode(to encoder: any Encoder) throws {
        try node.encode(to: encoder)
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encodeIfPresent(facts, forKey: .facts)
        try fields.encodeIfPresent(connectedAt, forKey: .connectedAt)
        try fields.encodeIfPresent(linkVersion, forKey: .linkVersion)
        try fields.encode(joinedAt, forKey: .joinedAt)
        try fields.encodeIfPresent(certificateExpiresAt, forKey: .certificateExpiresAt)
        try fields.encode(containers, forKey: .containers)
        try fields.encode(promised, forKey: .promised)
    }
}

enum NodeSchemas {
    static let node = JSONSchema.output(fields)

    static let detail = JSONSchema.output(
        fields + [
            .optional("facts", facts),
            .optional("connectedAt", .date("When its link came up; absent while it is offline.")),
            .optional("linkVersion", .count("Version of the link that both ends speak.")),
            .required("joinedAt", .date("When it joined.")),
            .optional("certificateExpiresAt", .date("When its certificate ends; it is renewed before.")),
            .required("containers", .array(ProjectSchemas.container)),
            .required("promised", ProjectSchemas.limits),
        ])

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("name", .string()),
        .required("state", .oneOf(NodeState.allCases.map(\.rawValue))),
        .optional("cgroup", .oneOf(["v2", "hybrid", "v1"], "Which cgroup tree the host has.")),
        .optional("runtime", .string("OCI runtime and its version.")),
        .optional("cpus", .count()),
        .optional("memoryBytes", .count()),
        .required("projects", .count("Projects that live on it.")),
        .optional("lastSeenAt", .date("When it last reported.")),
        .optional("localKillSwitch", LocalKillSwitchView.schema),
    ]

    private static let facts = JSONSchema.output([
        .required("programVersion", .string()), .required("hostName", .string()), .required("kernel", .string()),
        .required("cgroup", .string()), .required("runtime", .string()), .required("cpus", .count()),
        .required("memoryBytes", .count()), .required("diskBytes", .count()), .required("diskFreeBytes", .count()),
        .required("images", .array(.string())),
    ])
}
