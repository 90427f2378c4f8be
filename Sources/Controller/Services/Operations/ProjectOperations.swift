import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials

/// `projects_*`.
struct ProjectOperations: Sendable {
    let projects: ProjectService
    let creation: ProjectCreation
    let snapshots: SnapshotService

    var all: [Operation] { [create, list, get, delete, deleteContainer] }

    // MARK: create

    struct CreateInput: Decodable, Sendable {
        struct Git: Decodable, Sendable {
            var url: String
            var branch: String?
        }

        struct Limits: Decodable, Sendable {
            var cpus: Double?
            var memoryBytes: Int?
            var pids: Int?
            var diskBytes: Int?
        }

        var name: String
        var image: String?
        var limits: Limits?
        var environment: [String: String]?
        var git: Git?
        var snapshot: String?

        var resourceLimits: ResourceLimits {
            let usual = ResourceLimits()
            return ResourceLimits(
                cpus: limits?.cpus ?? usual.cpus, memoryBytes: limits?.memoryBytes ?? usual.memoryBytes,
                pids: limits?.pids ?? usual.pids, diskBytes: limits?.diskBytes)
        }
    }

    private var create: Operation {
        .make(
            "projects_create",
            .init(
                "Create a project",
                "Creates a project: one persistent Linux container with its own files in /workspace. With `git`, the "
                    + "repository is cloned into /workspace before this answers, for at most \(Limits.gitCloneSeconds) seconds; when "
                    + "that fails the project is removed again and the error carries git's message. With `snapshot`, /workspace begins "
                    + "with what a snapshot holds, also one of a deleted project. Fails with conflict when the name is taken."
            ),
            scope: .projectsWrite, annotations: .writing(openWorld: true), input: CreateInput.self,
            accepts: .input(Self.createFields), answers: ProjectSchemas.project,
            note: Self.note,
            recording: { ["project": .string($0.id.description)] }
        ) { input, context in
            let project = try await creation.create(input, context: context)
            return ProjectView(project, nodeNames: try await projects.nodeNames())
        }
    }

    /// A URL that is not allowed may carry a password: it is not kept.
    private static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        if let image = input["image"]?.string { detail["image"] = .string(image.shortened) }
        if let snapshot = input["snapshot"]?.string { detail["snapshot"] = .string(snapshot.shortened) }
        if let url = input["git"]?["url"]?.string {
            detail["git"] = (try? Rules.gitURL(url)) == nil ? "not allowed" : .string(url)
        }
        return Operation.Note(input["name"]?.string?.shortened ?? "", detail)
    }

    private static let createFields: [JSONSchema.Property] = [
        .required(
            "name",
            .string(
                "Lower-case letters, digits and hyphens; unique in the workspace.", minimumBytes: 1,
                maximumBytes: Limits.nameBytes)),
        .optional(
            "image",
            .string("Name of the image the container starts from.", minimumBytes: 1, maximumBytes: Limits.nameBytes)),
        .optional(
            "limits",
            .input(
                [
                    .optional(
                        "cpus",
                        .number(
                            0.05...Limits.containerCPUsHighest, "Cores the container may use.",
                            default: Limits.containerCPUs)),
                    .optional(
                        "memoryBytes",
                        .integer(
                            (32 * 1024 * 1024)...Limits.containerMemoryBytesHighest, "Bytes of memory.",
                            default: Limits.containerMemoryBytes)),
                    .optional(
                        "pids",
                        .integer(
                            16...Limits.containerPIDsHighest, "Processes and threads.", default: Limits.containerPIDs)),
                    .optional(
                        "diskBytes",
                        .integer(
                            Limits.projectDiskBytesLeast...Limits.containerDiskBytesHighest,
                            "Size of a disk of its own; as its workspace or the operator of its node set it unless given."
                        )),
                ], "What the container may use.")),
        .optional(
            "environment",
            .map(
                .string(), "Variables that every command gets. Values are stored as they are: no secrets.",
                maximum: Limits.execEnvironmentEntries)),
        .optional(
            "git",
            .input(
                [
                    .required(
                        "url",
                        .string(
                            "https://host/path, ssh://git@host/path or git@host:path, without credentials.",
                            minimumBytes: 1, maximumBytes: Limits.gitURLBytes)),
                    .optional(
                        "branch",
                        .string(
                            "Branch or tag; the remote's default branch unless given.", minimumBytes: 1,
                            maximumBytes: Limits.gitBranchBytes)),
                ], "Clone this repository into /workspace.")),
        .optional(
            "snapshot",
            .string(
                "Id of a snapshot of this workspace. The image is the snapshot's unless `image` is given.",
                minimumBytes: 1, maximumBytes: 64)),
    ]

    // MARK: list and get

    struct ListInput: Decodable, Sendable {
        var after: String?
        var limit: Int?
    }

    struct ListAnswer: Encodable, Sendable {
        var projects: [ProjectView]
        var next: String?
    }

    private var list: Operation {
        .make(
            "projects_list",
            .init("List projects", "Lists the projects of the workspace by name, at most \(Limits.pageRows) a page."),
            scope: .projectsRead, annotations: .reading, input: ListInput.self,
            accepts: .input([
                .optional("after", .string("`next` of the page before.", maximumBytes: 256)),
                .optional(
                    "limit", .integer(1...Limits.pageRows, "Projects to give at most.", default: Limits.pageRows)),
            ]),
            answers: .output([
                .required("projects", .array(ProjectSchemas.project)),
                .optional("next", .string("Give this as `after` for the next page; absent on the last one.")),
            ])
        ) { input, context in
            let page = try await projects.store.projects(
                in: context.principal.workspace, after: input.after, limit: input.limit ?? Limits.pageRows)
            let names = try await projects.nodeNames()
            return ListAnswer(
                projects: page.projects.map { ProjectView($0, nodeNames: names) }, next: page.next)
        }
    }

    private struct Nothing: Decodable, Sendable {}

    struct GetAnswer: Encodable, Sendable {
        var project: ProjectView
        var containerError: String?

        enum CodingKeys: String, CodingKey { case containerError }

        func encode(to encoder: any Encoder) throws {
            try project.encode(to: encoder)
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encodeIfPresent(containerError, forKey: .containerError)
        }
    }

    private var get: Operation {
        .onProject(
            "projects_get",
            .init(
                "Show a project",
                "Shows one project and the state of its container. When its node is offline, `containerError` says so."),
            scope: .projectsRead, annotations: .reading, input: Nothing.self, fields: [],
            answers: ProjectSchemas.projectWithContainer
        ) { _, project, context in
            var container: ContainerStatus?
            var containerError: String?
            do {
                container = try await projects.status(project, request: context.requestID)
            } catch let error as FastableError where error.code != .cancelled {
                containerError = error.message
            }
            return GetAnswer(
                project: ProjectView(project, nodeNames: try await projects.nodeNames(), container: container),
                containerError: containerError)
        }
    }

    // MARK: delete

    struct DeleteInput: Decodable, Sendable { var force: Bool? }

    struct DeleteAnswer: Encodable, Sendable {
        var id: ProjectID
        var name: String
        var pending: Bool
        /// What was saved of its content.
        var snapshot: SnapshotID?
        /// Why nothing was, although there may have been something.
        var snapshotError: String?
    }

    private static func record(_ answer: DeleteAnswer) -> [String: JSONValue] {
        var detail: [String: JSONValue] = [:]
        detail["snapshot"] = answer.snapshot.map { .string($0.description) }
        detail["snapshotError"] = answer.snapshotError.map { .string($0.shortened) }
        return detail
    }

    private var delete: Operation { deletion("projects_delete", "Delete a project") }
    /// A project is its container and its files: there is no one without the other.
    private var deleteContainer: Operation { deletion("devcontainer.delete", "Delete a dev container") }

    private func deletion(_ name: String, _ title: String) -> Operation {
        .onProject(
            name,
            .init(
                title,
                "Deletes a project with its container and ALL its files; this cannot be undone. Its name is free at once. What is in "
                    + "/workspace is saved first, as a snapshot that is kept for \(Limits.deletedProjectSnapshotDays) days; the rest "
                    + "is not. Fails when it cannot be saved, and with unavailable when the node is offline, unless `force`: then "
                    + "`snapshotError` tells what is lost, and an offline node removes the rest when it is back."
            ),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: DeleteInput.self,
            fields: [
                .optional(
                    "force",
                    .boolean(
                        "Also when the project's node is offline or was removed, or its content cannot be saved.",
                        default: false))
            ],
            answers: .output([
                .required("id", .string()), .required("name", .string()),
                .required("pending", .boolean("The node has still to remove the files.")),
                .optional("snapshot", .string("Id of the snapshot that has what was in /workspace.")),
                .optional("snapshotError", .string("Why there is none, although there may have been something.")),
            ]),
            note: { input in
                Operation.Note(input["project"]?.string?.shortened ?? "", input["force"].map { ["force": $0] } ?? [:])
            },
            recording: Self.record
        ) { input, project, context in
            let force = input.force ?? false
            var answer = DeleteAnswer(id: project.id, name: project.name, pending: false)
            try await projects.stopToSave(project, isForced: force, context)
            let saved = try await snapshots.requireVerified(
                project, reason: .delete, step: "deleted", isForced: force, context: context)
            switch saved {
            case .nothing: break
            case .saved(let snapshot): answer.snapshot = snapshot.id
            case .unsaved(let failure): answer.snapshotError = failure.message
            }
            let removal = try await projects.delete(project, force: force, request: context.requestID)
            answer.pending = removal == .pending
            return answer
        }
    }
}
