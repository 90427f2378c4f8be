import ControllerDomain
import ControllerStore
import FastableCore

/// `projects_snapshot`, `projects_snapshots`, `projects_snapshot_delete`, `projects_restore`.
struct SnapshotOperations: Sendable {
    let projects: ProjectService
    let snapshots: SnapshotService

    var all: [Operation] { [take, list, remove, restore] }

    private struct Nothing: Decodable, Sendable {}

    private var take: Operation {
        .onProject(
            "projects_snapshot",
            .init(
                "Take a snapshot",
                "Saves all of /workspace as an archive in the controller's own store, and reads it back before this answers. Commands may "
                    + "go on meanwhile: `consistent` tells whether anything changed. The newest \(Limits.snapshotsKeptManual) are kept. "
                    + "Fails with unavailable when the project's node is offline or the controller's disk is too full."),
            scope: .projectsWrite, annotations: .writing(), input: Nothing.self, fields: [],
            answers: SnapshotSchemas.snapshot, recording: { ["snapshot": .string($0.id.description)] }
        ) { _, project, context in
            guard let snapshot = try await snapshots.take(project, reason: .manual, context: context) else {
                throw FastableError(.unprocessable, "There is nothing to save.")
            }
            return SnapshotView(snapshot, nodeNames: try await projects.nodeNames())
        }
    }

    struct ListInput: Decodable, Sendable {
        var project: String?
        var before: String?
        var limit: Int?
    }

    struct ListAnswer: Encodable, Sendable {
        var snapshots: [SnapshotView]
        var next: String?
        var setAside: [SetAsideView]?
    }

    private var list: Operation {
        .make(
            "projects_snapshots",
            .init(
                "List snapshots",
                "Lists the snapshots of a project, or without one those of the whole workspace, deleted projects included; newest first, "
                    + "at most \(Limits.pageRows) a page. Those of a deleted project go after \(Limits.deletedProjectSnapshotDays) days."
            ),
            scope: .projectsRead, annotations: .reading, input: ListInput.self,
            accepts: .input([
                .optional("project", .string("The project: its name or its id.", minimumBytes: 1, maximumBytes: 128)),
                .optional("before", .string("`next` of the page before.", maximumBytes: 64)),
                .optional(
                    "limit", .integer(1...Limits.pageRows, "Snapshots to give at most.", default: Limits.pageRows)),
            ]),
            answers: .output([
                .required("snapshots", .array(SnapshotSchemas.snapshot)),
                .optional("next", .string("Give this as `before` for the next page; absent on the last one.")),
                .optional("setAside", .array(SetAsideView.schema)),
            ])
        ) { input, context in
            var project: ProjectID?
            if let text = input.project { project = try await projects.resolve(text, for: context.principal).id }
            let limit = input.limit ?? Limits.pageRows
            let page = try await snapshots.store.snapshots(
                of: project, in: context.principal.workspace, before: input.before.flatMap { SnapshotID($0) },
                limit: limit)
            let names = try await projects.nodeNames()
            let aside = try await snapshots.store.setAside(
                of: project, in: context.principal.workspace, limit: Limits.pageRows)
            return ListAnswer(
                snapshots: page.map { SnapshotView($0, nodeNames: names) },
                next: page.count == limit ? page.last?.id.description : nil,
                setAside: aside.isEmpty ? nil : aside.map { SetAsideView($0, nodeNames: names) })
        }
    }

    struct RemoveInput: Decodable, Sendable { var snapshot: String }
    struct RemoveAnswer: Encodable, Sendable { var id: SnapshotID }

    private var remove: Operation {
        .make(
            "projects_snapshot_delete",
            .init("Delete a snapshot", "Deletes a snapshot of the workspace with its archive; this cannot be undone."),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: RemoveInput.self,
            accepts: .input([
                .required("snapshot", .string("Id of the snapshot.", minimumBytes: 1, maximumBytes: 64))
            ]), answers: .output([.required("id", .string())]),
            note: { Operation.Note($0["snapshot"]?.string?.shortened ?? "") }
        ) { input, context in
            let snapshot = try await snapshots.snapshot(input.snapshot, in: context.principal.workspace)
            try await snapshots.remove(snapshot)
            return RemoveAnswer(id: snapshot.id)
        }
    }

    struct RestoreInput: Decodable, Sendable {
        var at: String?
        var discardCurrent: Bool?
    }

    struct RestoreAnswer: Encodable, Sendable {
        var snapshot: SnapshotID
        var entries: Int
        var contentBytes: Int64
        var replaced: CheckpointID?
    }

    private var restore: Operation {
        .onProject(
            "projects_restore",
            .init(
                "Restore a snapshot",
                "Replaces all of /workspace with a snapshot, once it was checked and is complete on the node. What was there is kept as a "
                    + "checkpoint, whose id is the answer's `replaced`, unless `discardCurrent`. Commands that run keep running. "
                    + "Fails with internal when the archive is damaged; nothing is changed then."),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: RestoreInput.self,
            fields: [
                .optional(
                    "at",
                    .string("Id of a snapshot of this project; the newest one unless given.", maximumBytes: 64)),
                .optional(
                    "discardCurrent", .boolean("Do not keep what is in /workspace now.", default: false)),
            ], answers: SnapshotSchemas.restored,
            note: { Operation.Note($0["at"]?.string?.shortened ?? "") },
            recording: { ["snapshot": .string($0.snapshot.description)] }
        ) { input, project, context in
            if project.archive != nil {
                return try await bringBack(project, input.at, context)
            }
            let snapshot = try await snapshots.snapshot(input.at, of: project)
            let restored = try await snapshots.restore(
                snapshot, into: project, keepingAs: input.discardCurrent == true ? nil : CheckpointID(),
                context: context)
            return RestoreAnswer(
                snapshot: snapshot.id, entries: restored.entries, contentBytes: restored.contentBytes,
                replaced: restored.kept)
        }
    }

    /// An archived project has no content that could be replaced: it comes back with that of the snapshot.
    private func bringBack(
        _ project: Project, _ id: String?, _ context: OperationContext
    ) async throws -> RestoreAnswer {
        let snapshot = try await snapshots.snapshot(id ?? project.archive?.snapshot.description, of: project)
        let back = try await projects.comeBack(project, from: snapshot, telling: context.events)
        _ = try await projects.prepared(back, request: context.requestID)
        return RestoreAnswer(
            snapshot: snapshot.id, entries: snapshot.facts.entries, contentBytes: snapshot.facts.contentBytes,
            replaced: nil)
    }
}
