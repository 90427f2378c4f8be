import ControllerDomain
import ControllerFleet
import FastableCore
import FoundationEssentials

/// A node in a list.
struct NodeView: Encodable, Sendable {
    var id: NodeID
    var name: String
    var state: NodeState
    /// Since when it is in a state that was told.
    var stateSince: Date?
    /// Facts of the host; absent until the node connected once.
    var cgroup: CgroupMode?
    var runtime: String?
    var cpus: Int?
    var memoryBytes: Int?
    var projects: Int
    var lastSeenAt: Date?
    /// What somebody switched off on the host itself.
    var localKillSwitch: LocalKillSwitchView?
    /// How short of space its disk is.
    var diskPressure: DiskPressure?

    init(_ record: NodeRecord, connection: ConnectedNode?, load: NodeLoad?) {
        let facts = connection?.facts ?? record.facts
        id = record.id
        name = record.name
        state = record.state(connected: connection != nil)
        stateSince = state == record.told ? record.toldAt : nil
        cgroup = facts?.cgroup
        runtime = facts?.runtime
        cpus = facts?.cpus
        memoryBytes = facts?.memoryBytes
        projects = load?.projects ?? 0
        localKillSwitch = connection?.switches?.local.map(LocalKillSwitchView.init)
        diskPressure = facts?.diskPressure
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
    /// Sums of the limits of its awake containers, and of the disks of all its projects.
    var promised: ResourceLimits
    var containersAwake: Int
    var drain: NodeDrainView?

    enum CodingKeys: String, CodingKey {
        case facts, connectedAt, linkVersion, joinedAt, certificateExpiresAt, containers, promised, containersAwake,
            drain
    }

    init(_ record: NodeRecord, connection: ConnectedNode?, load: NodeLoad?, drain: NodeDrainView?) {
        self.drain = drain
        node = NodeView(record, connection: connection, load: load)
        facts = connection?.facts ?? record.facts
        connectedAt = connection?.connectedAt
        linkVersion = connection?.linkVersion
        joinedAt = record.createdAt
        certificateExpiresAt = record.certificateExpiresAt
        containers = connection?.containers ?? []
        promised = ResourceLimits(
            cpus: load?.cpus ?? 0, memoryBytes: load?.memoryBytes ?? 0, pids: load?.pids ?? 0,
            diskBytes: load?.diskBytes ?? 0)
        containersAwake = load?.awake ?? 0
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
        try fields.encode(containersAwake, forKey: .containersAwake)
        try fields.encodeIfPresent(drain, forKey: .drain)
    }
}

/// How far a drain is.
struct NodeDrainView: Encodable, Sendable {
    /// A project that is still on the node.
    struct Entry: Encodable, Sendable {
        enum State: String, Encodable, Sendable, CaseIterable {
            /// For its turn, or for what works in it.
            case waiting
            case moving
            /// It is where it was, and is tried again.
            case failed
        }

        var project: ProjectID
        var name: String
        var workspace: WorkspaceID
        var state: State
        var message: String?
        var fraction: Double?
    }

    var startedAt: Date
    var deadline: Date?
    /// How many projects the node had, and how many it still has.
    var total: Int
    var left: Int
    var projects: [Entry]

    init(_ drain: NodeDrain, left: Int, projects: [Entry]) {
        startedAt = drain.startedAt
        deadline = drain.deadline
        total = max(drain.projects, left)
        self.left = left
        self.projects = projects
    }

    static let schema = JSONSchema.output([
        .required("startedAt", .date("When it was asked for.")),
        .optional("deadline", .date("Until when commands may go on; absent while they may for as long as they like.")),
        .required("total", .count("Projects that the node had at the beginning.")),
        .required("left", .count("Projects that it still has.")),
        .required(
            "projects",
            .array(
                .output([
                    .required("project", .string()), .required("name", .string()), .required("workspace", .string()),
                    .required("state", .oneOf(Entry.State.allCases.map(\.rawValue))),
                    .optional("message", .string("What happens now, or why it is still there.")),
                    .optional("fraction", .number(0...1, "Share of the present step that is done.")),
                ]), "Some of those that it still has.")),
    ])
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
            .required(
                "promised",
                .output(
                    [
                        .required("cpus", .number()), .required("memoryBytes", .count()), .required("pids", .count()),
                        .required("diskBytes", .count()),
                    ], "Sums of the limits of its awake containers, and of the disks of all its projects.")),
            .required("containersAwake", .count("Containers that run, or are being started.")),
            .optional("drain", NodeDrainView.schema),
        ])

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("name", .string()),
        .required("state", .oneOf(NodeState.allCases.map(\.rawValue))),
        .optional("stateSince", .date("Since when it is in this state.")),
        .optional("cgroup", .oneOf(["v2", "hybrid", "v1"], "Which cgroup tree the host has.")),
        .optional("runtime", .string("OCI runtime and its version.")),
        .optional("cpus", .count()),
        .optional("memoryBytes", .count()),
        .required("projects", .count("Projects that live on it.")),
        .optional("lastSeenAt", .date("When it last reported.")),
        .optional("localKillSwitch", LocalKillSwitchView.schema),
        .optional("diskPressure", pressure),
    ]

    private static let pressure = JSONSchema.oneOf(
        DiskPressure.allCases.map(\.rawValue),
        "How short of space its disk is; from ‘reclaiming’ on it gets no new project, and ‘refusing’ starts no container."
    )

    private static let facts = JSONSchema.output([
        .required("programVersion", .string()), .required("hostName", .string()), .required("kernel", .string()),
        .required("cgroup", .string()), .required("runtime", .string()), .required("cpus", .count()),
        .required("memoryBytes", .count()), .required("diskBytes", .count()), .required("diskFreeBytes", .count()),
        .optional("diskFreeFiles", .count("Files that can still be made, where there is a fixed number of them.")),
        .optional("diskPressure", pressure),
        .optional(
            "diskReclaimed",
            .output([
                .required("images", .array(.string(), "The last of the images that were dropped.")),
                .required("caches", .count("Caches of projects that were dropped.")),
            ])),
        .required("images", .array(.string())), .optional("pids", .count("Processes that it can have at a time.")),
        .optional(
            "registryImages",
            .array(
                .output([
                    .required("name", .string()), .required("source", .string("With the digest of its manifest.")),
                    .required("namedAt", .date("When somebody gave the name this content.")),
                ]), "From where other nodes can pull images that it has, or had until its disk was full.")),
    ])
}
