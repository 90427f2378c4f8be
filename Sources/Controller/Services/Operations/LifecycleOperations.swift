import ControllerDomain
import FastableCore

/// When containers are suspended, stopped, archived and deleted, per project and per workspace.
struct LifecycleOperations: Sendable {
    let projects: ProjectService

    var all: [Operation] { [setProject, setWorkspace] }

    struct ProjectAnswer: Encodable, Sendable {
        var lifecycle: LifecyclePolicy
        var own: LifecyclePolicy
        var applied: Bool
    }

    private var setProject: Operation {
        .onProject(
            "projects_set_lifecycle",
            .init(
                "Set when a project's container goes down",
                "Sets after how much time without use the project's container is suspended and stopped. It replaces all earlier settings "
                    + "of the project: fields that are not given are those of its workspace. 0 means never."
            ),
            scope: .projectsWrite, annotations: .writing(idempotent: true), input: LifecyclePolicy.self,
            fields: Self.fields,
            answers: .output([
                .required("lifecycle", ProjectSchemas.lifecycle),
                .required("own", Self.settings("What the project sets itself.")),
                .required("applied", .boolean("Its node has it; otherwise it is told when it is back.")),
            ]), note: Self.note
        ) { lifecycle, project, context in
            let (changed, applied) = try await projects.setLifecycle(
                lifecycle, of: project, request: context.requestID)
            return ProjectAnswer(lifecycle: changed.lifecyclePolicy, own: changed.lifecycle, applied: applied)
        }
    }

    struct WorkspaceAnswer: Encodable, Sendable {
        var lifecycle: LifecyclePolicy
        var own: LifecyclePolicy
    }

    private var setWorkspace: Operation {
        .make(
            "workspace_set_lifecycle",
            .init(
                "Set when the workspace's containers go down",
                "Sets after how much time without use containers are suspended and stopped, for all projects of the workspace that do not "
                    + "say otherwise. It replaces all earlier settings of the workspace: fields that are not given are the standard. 0 "
                    + "means never."
            ),
            scope: .admin, annotations: .writing(idempotent: true), input: LifecyclePolicy.self,
            accepts: .input(Self.fields),
            answers: .output([
                .required("lifecycle", ProjectSchemas.lifecycle),
                .required("own", Self.settings("What the workspace sets itself.")),
            ]), visibleToAgents: false, note: Self.note
        ) { lifecycle, context in
            let changed = try await projects.setLifecycle(lifecycle, of: context.principal.workspace)
            return WorkspaceAnswer(lifecycle: changed.lifecycle.merged(over: .standard), own: changed.lifecycle)
        }
    }

    private static let names = [
        ("idleSeconds", "Without work for so long a container is suspended.", Limits.idleSeconds),
        ("stopAfterSeconds", "Suspended for so long it is stopped.", Limits.stopAfterSeconds),
        ("archiveAfterSeconds", "Stopped for so long it is archived.", Limits.archiveAfterSeconds),
        ("deleteAfterSeconds", "Archived for so long it is deleted.", Limits.deleteAfterSeconds),
    ]

    private static let fields: [JSONSchema.Property] =
        names.map { name, text, standard in
            .optional(
                name, .integer(0...Limits.lifecycleSecondsHighest, "\(text) The standard is \(standard); 0 is never."))
        } + [
            .optional(
                "onNodeLost",
                .oneOf(
                    OnNodeLost.allCases.map(\.rawValue),
                    "What happens when its node is lost: it waits for it (the standard), or the next use starts it elsewhere from its last "
                        + "verified snapshot."))
        ]

    private static func settings(_ text: String) -> JSONSchema {
        .output(
            names.map { name, _, _ in .optional(name, .count()) } + [
                .optional("onNodeLost", .oneOf(OnNodeLost.allCases.map(\.rawValue)))
            ], text)
    }

    @Sendable private static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        for name in names.map(\.0) + ["onNodeLost"] { detail[name] = input[name] }
        return Operation.Note("", detail)
    }
}
