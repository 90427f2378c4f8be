import ControllerDomain
import FastableCore
import FoundationEssentials

/// A project as it is shown.
struct ProjectView: Encodable, Sendable {
    struct Origin: Encodable, Sendable {
        var url: String
        var branch: String?
    }

    var id: ProjectID
    var name: String
    var image: String
    var limits: ResourceLimits
    /// Names only: values may be secrets.
    var environment: [String]
    var node: String?
    var git: Origin?
    var createdAt: Date
    var archive: Archive?
    /// As it is in force.
    var lifecycle: LifecyclePolicy
    var container: ContainerStatus?

    struct Archive: Encodable, Sendable {
        var snapshot: SnapshotID
        var since: Date
    }

    init(_ project: Project, nodeNames: [NodeID: String], container: ContainerStatus? = nil) {
        id = project.id
        name = project.name
        image = project.image
        limits = project.limits
        environment = project.environment.keys.sorted()
        node = project.node.map { nodeNames[$0] ?? $0.description }
        if case .git(let url, let branch) = project.origin { git = Origin(url: url, branch: branch) }
        createdAt = project.createdAt
        archive = project.archive.map { Archive(snapshot: $0.snapshot, since: $0.since) }
        lifecycle = project.lifecyclePolicy
        self.container = container
    }
}

enum ProjectSchemas {
    static let limits = JSONSchema.output([
        .required("cpus", .number(nil, "CPU time per wall time; 1 is one core.")),
        .required("memoryBytes", .count()),
        .required("pids", .count("Processes and threads.")),
        .optional("diskBytes", .count("Size of its disk, if it says so itself.")),
    ])

    static let container = JSONSchema.output([
        .required("project", .string()),
        .required("state", .oneOf(ContainerState.allCases.map(\.rawValue))),
        .optional("container", .string("Id of this incarnation; absent while there is none.")),
        .required("image", .string()),
        .optional("startedAt", .date("When it was started.")),
        .required("reason", .string("Why it is in this state, and what to do when it failed.")),
        .required("limits", limits),
        .required("runningExecs", .count("Commands that run now.")),
        .optional("since", .date("When it came into this state.")),
        .optional("limitHits", limitHits),
        .optional("restingSince", .date("Since when it has had no container and nobody used its files.")),
        .optional("disk", disk),
        .optional("queue", queue),
        .optional("start", start),
        .optional("supervised", supervised),
    ])

    private static let supervised = JSONSchema.array(
        .output([
            .required("name", .string()),
            .required("state", .oneOf(SupervisedStatus.State.allCases.map(\.rawValue))),
            .optional("exec", .string("Its present run, or the last one.")),
            .required("failures", .count("How often in a row it has ended soon after its start.")),
            .optional("retryAt", .date("When it is started again.")),
            .optional("problem", .string("Why it could not be started.")),
        ]), "Its dev servers, see dev_server.list.")

    private static let start = JSONSchema.output(
        [
            .required("stage", .oneOf(StartProgress.Stage.allCases.map(\.rawValue))),
            .required("message", .string("The same in a sentence.")),
            .optional("fraction", .number(0...1, "How much of the stage is done, where that is known.")),
            .optional("doneBytes", .count("How much of its image has come.")),
            .optional("totalBytes", .count("How much of it comes in all, where the registry says so.")),
        ], "How far it is; present while it is being started.")

    private static let queue = JSONSchema.output(
        [
            .required("position", .count("1 is the next.")),
            .required("waiting", .count("How many wait on the node.")),
            .required("lacksMemory", .boolean("The first in line waits for the node to have enough memory.")),
            .optional("expectedSeconds", .count("Until its turn comes, about; absent while nothing tells that.")),
        ], "Present while it waits for its turn to be started.")

    private static let disk = JSONSchema.output(
        [
            .required("limitBytes", .count("Its size.")),
            .required("usedBytes", .count("With directories; the rest can be written.")),
            .optional("freeFiles", .count("Files that can still be made.")),
        ], "The project's own disk; absent without one.")

    static let lifecycle = JSONSchema.output([
        .required("idleSeconds", .count("Without work for so long it is suspended; 0 is never.")),
        .required("stopAfterSeconds", .count("Suspended for so long it is stopped; 0 is never.")),
        .required("archiveAfterSeconds", .count("Stopped for so long it is archived; 0 is never.")),
        .required("deleteAfterSeconds", .count("Archived for so long it is deleted; 0 is never.")),
        .optional(
            "onNodeLost", .oneOf(OnNodeLost.allCases.map(\.rawValue), "What becomes of it when its node is lost.")),
    ])

    static let explanation = JSONSchema.output([
        .required("project", .string()),
        .required("state", .oneOf(ContainerState.allCases.map(\.rawValue))),
        .optional("since", .date("When it came into this state.")),
        .required("reason", .string("Why it is in this state.")),
        .required("text", .string("All of it, in sentences.")),
        .optional("idleSince", .date("Since when nothing has worked in it; absent while something does.")),
        .required(
            "awakeBecause",
            .array(
                .output([
                    .required("kind", .oneOf(ContainerExplanation.Work.Kind.allCases.map(\.rawValue))),
                    .required("text", .string()),
                    .optional("until", .date("When it ends by itself, if that is known.")),
                ]), "What keeps it awake.")),
        .optional(
            "next",
            .output(
                [
                    .required("step", .oneOf(ContainerExplanation.Next.Step.allCases.map(\.rawValue))),
                    .required("at", .date("When.")),
                    .required("inSeconds", .count()),
                ], "What happens unless it is used before; absent when nothing happens by itself.")),
        .required("policy", lifecycle),
        .optional("limitHits", limitHits),
        .optional("disk", disk),
        .optional("queue", queue),
        .optional("start", start),
    ])

    /// What `shell.exec` answers, too.
    static let limitHit: [JSONSchema.Property] = [
        .required("limit", .oneOf(LimitHit.Limit.allCases.map(\.rawValue))),
        .optional("limitBytes", .count("How much there was of it.")),
        .optional("limitCount", .count("How many there were.")),
        .optional("process", .string("The name of the process that the kernel ended.")),
    ]

    private static let limitHits = JSONSchema.array(
        .output([
            .required("hit", .output(limitHit, "The last time.")),
            .required("count", .count("How often since the container was started.")),
            .required("at", .date("When it was seen last.")),
        ]), "Limits that the container has come to since it was started.")

    static let project = JSONSchema.output(fields)

    static let projectWithContainer = JSONSchema.output(
        fields + [.optional("container", container), .optional("containerError", .string())])

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("name", .string()),
        .required("image", .string()),
        .required("limits", limits),
        .required("environment", .array(.string(), "Names of the variables that every command gets.")),
        .optional(
            "node", .string("The build host that has it; absent before the first use, and while it is archived.")),
        .optional("git", .output([.required("url", .string()), .optional("branch", .string())])),
        .required("createdAt", .date("When it was created.")),
        .optional(
            "archive",
            .output(
                [
                    .required("snapshot", .string("Id of the snapshot that has its content.")),
                    .required("since", .date("When it was archived.")),
                ], "Present while it is archived.")),
        .required("lifecycle", lifecycle),
    ]
}
