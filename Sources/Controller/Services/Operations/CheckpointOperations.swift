import ControllerDomain
import FastableCore
import FoundationEssentials

/// `projects_checkpoint`, `projects_checkpoints`, `projects_checkpoint_delete`, `projects_rollback`, `projects_fork`.
struct CheckpointOperations: Sendable {
    let projects: ProjectService
    let checkpoints: CheckpointService

    var all: [Operation] { [create, list, remove, rollBack, fork] }

    private struct Nothing: Decodable, Sendable {}

    // MARK: making and listing

    struct CreateInput: Decodable, Sendable { var note: String? }

    struct CreateAnswer: Encodable, Sendable {
        var id: CheckpointID
        var entries: Int
        var contentBytes: Int64
        var changedFiles: Int
        var skipped: Int
    }

    private var create: Operation {
        .onProject(
            "projects_checkpoint",
            .init(
                "Make a checkpoint",
                "Copies /workspace beside itself on the project's own node, at once where the file system can share blocks. A checkpoint "
                    + "goes with its node and its project: take a snapshot for what must not be lost. The newest "
                    + "\(Limits.checkpointsPerProject) are kept."),
            scope: .projectsWrite, annotations: .writing(), input: CreateInput.self,
            fields: [
                .optional("note", .string("What it is for.", maximumBytes: Limits.checkpointNoteBytes))
            ],
            answers: .output(
                [.required("id", .string())] + Self.copied + [
                    .required("changedFiles", .count("Files that changed or vanished while they were copied.")),
                    .required("skipped", .count("FIFOs, sockets and devices, which are not copied.")),
                ]), recording: { ["checkpoint": .string($0.id.description)] }
        ) { input, project, context in
            let made = try await checkpoints.create(project, note: input.note ?? "", context: context)
            guard let id = made.checkpoint else {
                throw FastableError(.internal, "The node made a checkpoint without an id. Try again.")
            }
            return CreateAnswer(
                id: id, entries: made.entries, contentBytes: made.contentBytes, changedFiles: made.changedFiles,
                skipped: made.skipped)
        }
    }

    private static let copied: [JSONSchema.Property] = [
        .required("entries", .count("Files, directories and links.")),
        .required("contentBytes", .count("Bytes of the files.")),
    ]

    struct ListAnswer: Encodable, Sendable { var checkpoints: [CheckpointInfo] }

    private var list: Operation {
        .onProject(
            "projects_checkpoints",
            .init("List checkpoints", "Lists the checkpoints of a project, newest first."),
            scope: .projectsRead, annotations: .reading, input: Nothing.self, fields: [],
            answers: .output([
                .required(
                    "checkpoints",
                    .array(
                        .output([
                            .required("id", .string()),
                            .required("createdAt", .date("When it was made.")),
                            .required("note", .string("What it is for.")),
                            .optional("entries", .count("Absent for content that was replaced and moved here.")),
                            .optional("contentBytes", .count("Like `entries`.")),
                            .optional("changedFiles", .count("Like `entries`.")),
                        ])))
            ])
        ) { _, project, context in
            ListAnswer(checkpoints: try await checkpoints.list(project, context: context))
        }
    }

    struct RemoveInput: Decodable, Sendable { var checkpoint: String }
    struct RemoveAnswer: Encodable, Sendable { var id: String }

    private var remove: Operation {
        .onProject(
            "projects_checkpoint_delete",
            .init("Delete a checkpoint", "Deletes a checkpoint of a project, which frees its space on the node."),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: RemoveInput.self,
            fields: [.required("checkpoint", .string("Id of the checkpoint.", minimumBytes: 1, maximumBytes: 64))],
            answers: .output([.required("id", .string())]),
            note: { Operation.Note($0["checkpoint"]?.string?.shortened ?? "") }
        ) { input, project, context in
            try await checkpoints.remove(input.checkpoint, of: project, context: context)
            return RemoveAnswer(id: input.checkpoint)
        }
    }

    // MARK: going back, and elsewhere

    struct RollBackInput: Decodable, Sendable { var at: String? }

    struct RollBackAnswer: Encodable, Sendable {
        var checkpoint: CheckpointID
        var entries: Int
        var contentBytes: Int64
        var replaced: CheckpointID?
    }

    private var rollBack: Operation {
        .onProject(
            "projects_rollback",
            .init(
                "Go back to a checkpoint",
                "Replaces all of /workspace with a copy of a checkpoint, which stays. What was there becomes a checkpoint itself, whose id "
                    + "is the answer's `replaced`. Commands that run keep running."),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: RollBackInput.self,
            fields: [
                .optional(
                    "at", .string("Id of a checkpoint; the newest one unless given.", minimumBytes: 1, maximumBytes: 64)
                )
            ],
            answers: .output(
                [.required("checkpoint", .string("What was gone back to."))] + Self.copied + [
                    .optional("replaced", .string("The checkpoint that has the content from before, if there was any."))
                ]), note: { Operation.Note($0["at"]?.string?.shortened ?? "") },
            recording: { ["checkpoint": .string($0.checkpoint.description)] }
        ) { input, project, context in
            let (checkpoint, result) = try await checkpoints.rollBack(project, to: input.at, context: context)
            return RollBackAnswer(
                checkpoint: checkpoint, entries: result.entries, contentBytes: result.contentBytes,
                replaced: result.checkpoint)
        }
    }

    struct ForkInput: Decodable, Sendable {
        var name: String
        var at: String?
    }

    private var fork: Operation {
        .onProject(
            "projects_fork",
            .init(
                "Fork a project",
                "Makes a new project with a copy of another one's /workspace, on the same node and with the same image, limits and "
                    + "environment. What was installed outside of /workspace is not copied. Fails with conflict when the name is taken."
            ),
            scope: .projectsWrite, annotations: .writing(), input: ForkInput.self,
            fields: [
                .required(
                    "name",
                    .string(
                        "The new project's: lower-case letters, digits and hyphens.", minimumBytes: 1,
                        maximumBytes: Limits.nameBytes)),
                .optional(
                    "at",
                    .string(
                        "Id of a checkpoint of the project; its workspace as it is now unless given.", minimumBytes: 1,
                        maximumBytes: 64)),
            ], answers: ProjectSchemas.project,
            note: { Operation.Note($0["name"]?.string?.shortened ?? "") },
            recording: { ["project": .string($0.id.description)] }
        ) { input, project, context in
            let made = try await checkpoints.fork(project, as: input.name, at: input.at, context: context)
            return ProjectView(made, nodeNames: try await projects.nodeNames())
        }
    }
}
