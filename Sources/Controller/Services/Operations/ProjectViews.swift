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
    var container: ContainerStatus?

    init(_ project: Project, nodeNames: [NodeID: String], container: ContainerStatus? = nil) {
        id = project.id
        name = project.name
        image = project.image
        limits = project.limits
        environment = project.environment.keys.sorted()
        node = project.node.map { nodeNames[$0] ?? $0.description }
        if case .git(let url, let branch) = project.origin { git = Origin(url: url, branch: branch) }
        createdAt = project.createdAt
        self.container = container
    }
}

enum ProjectSchemas {
    static let limits = JSONSchema.output([
        .required("cpus", .number(nil, "CPU time per wall time; 1 is one core.")),
        .required("memoryBytes", .count()),
        .required("pids", .count("Processes and threads.")),
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
    ])

    static let project = JSONSchema.output(fields)

    static let projectWithContainer = JSONSchema.output(
        fields + [.optional("container", container), .optional("containerError", .string())])

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("name", .string()),
        .required("image", .string()),
        .required("limits", limits),
        .required("environment", .array(.string(), "Names of the variables that every command gets.")),
        .optional("node", .string("The build host that has it; absent before the first use.")),
        .optional("git", .output([.required("url", .string()), .optional("branch", .string())])),
        .required("createdAt", .date("When it was created.")),
    ]
}
