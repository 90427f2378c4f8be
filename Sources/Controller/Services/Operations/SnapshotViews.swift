import ControllerDomain
import FastableCore
import FoundationEssentials

/// A snapshot as it is shown.
struct SnapshotView: Encodable, Sendable {
    var id: SnapshotID
    var project: ProjectID
    var projectName: String
    var node: String
    var image: String
    var createdAt: Date
    var reason: String
    var state: String
    var archiveBytes: Int64
    var contentBytes: Int64
    var entries: Int
    var sha256: String
    var changedFiles: Int
    var skipped: Int
    var consistent: Bool
    var expiresAt: Date?

    init(_ snapshot: Snapshot, nodeNames: [NodeID: String]) {
        id = snapshot.id
        project = snapshot.project
        projectName = snapshot.projectName
        node = nodeNames[snapshot.node] ?? snapshot.node.description
        image = snapshot.image
        createdAt = snapshot.createdAt
        reason = snapshot.reason.rawValue
        state = snapshot.state.rawValue
        archiveBytes = snapshot.facts.archiveBytes
        contentBytes = snapshot.facts.contentBytes
        entries = snapshot.facts.entries
        sha256 = snapshot.facts.sha256
        changedFiles = snapshot.facts.changedFiles
        skipped = snapshot.facts.skipped
        consistent = snapshot.facts.isConsistent
        expiresAt = snapshot.expiresAt
    }
}

/// What a node that was lost keeps of a project.
struct SetAsideView: Encodable, Sendable {
    var project: ProjectID
    var projectName: String
    var node: String
    var since: Date
    var doneAt: Date?
    var path: String?

    init(_ record: SetAsideRecord, nodeNames: [NodeID: String]) {
        project = record.remains.project
        projectName = record.projectName
        node = nodeNames[record.remains.node] ?? record.remains.node.description
        since = record.remains.since
        doneAt = record.doneAt
        path = record.path
    }

    static let schema = JSONSchema.output(
        [
            .required("project", .string()), .required("projectName", .string("As the project was called then.")),
            .required("node", .string("The build host that was lost.")),
            .required("since", .date("When the project was started elsewhere.")),
            .optional("doneAt", .date("When the node had put it aside; absent as long as it has not come back.")),
            .optional("path", .string("Where it lies on the node's host; absent when the node had nothing.")),
        ], "What a lost node had of a project that goes on elsewhere. Nothing removes it but people.")
}

enum SnapshotSchemas {
    static let snapshot = JSONSchema.output([
        .required("id", .string()),
        .required("project", .string("Id of the project that it was taken of.")),
        .required("projectName", .string("As the project was called then.")),
        .required("node", .string("The build host that had it.")),
        .required("image", .string()),
        .required("createdAt", .date("When it was taken.")),
        .required("reason", .oneOf(Snapshot.Reason.allCases.map(\.rawValue), "Why it was taken.")),
        .required(
            "state",
            .oneOf(Snapshot.State.allCases.map(\.rawValue), "Whether its archive was found whole when last read.")),
        .required("archiveBytes", .count("Bytes on the controller's disk.")),
        .required("contentBytes", .count("Bytes of the files.")),
        .required("entries", .count("Files, directories and links.")),
        .required("sha256", .string("Of the archive, a Zstandard-compressed tar.")),
        .required("changedFiles", .count("Files that changed or vanished while they were read.")),
        .required("skipped", .count("FIFOs, sockets and devices, which are not kept.")),
        .required("consistent", .boolean("Nothing in the workspace changed while it was read.")),
        .optional("expiresAt", .date("When it goes by itself, since its project was deleted.")),
    ])

    static let restored = JSONSchema.output([
        .required("snapshot", .string("What was restored.")),
        .required("entries", .count("Files, directories and links.")),
        .required("contentBytes", .count("Bytes of the files.")),
        .optional(
            "replaced",
            .string("The checkpoint that has the content from before; absent when there was none or it was discarded.")),
    ])
}
