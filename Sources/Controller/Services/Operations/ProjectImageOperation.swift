import ControllerDomain
import FastableCore

/// `projects_set_image`: another image for a project that has content.
struct ProjectImageOperation: Sendable {
    let projects: ProjectService
    let snapshots: SnapshotService

    struct Input: Decodable, Sendable {
        var image: String
        var force: Bool?
    }

    struct Answer: Encodable, Sendable {
        var id: ProjectID
        var name: String
        var image: String
        /// What was saved of its content.
        var snapshot: SnapshotID?
        /// Why nothing was, although there may have been something.
        var snapshotError: String?
    }

    var operation: Operation {
        .onProject(
            "projects_set_image",
            .init(
                "Change a project's image",
                "Lets the project's container be made from another image, from its next use on. The present one is stopped. What is in "
                    + "/workspace and /cache stays; what was installed or changed elsewhere belonged to the old image and is gone. "
                    + "/workspace is saved first, as a snapshot; fails when it cannot be saved, unless `force`."
            ),
            scope: .projectsWrite, annotations: .writing(destructive: true), input: Input.self,
            fields: [
                .required(
                    "image",
                    .string(
                        "Name of an image that the project's node has or can pull.", minimumBytes: 1,
                        maximumBytes: Limits.nameBytes)),
                .optional("force", .boolean("Also when the content cannot be saved.", default: false)),
            ],
            answers: Self.answer,
            note: { input in
                guard let image = input["image"]?.string else { return Operation.Note("") }
                var detail: [String: JSONValue] = ["image": .string(image.shortened)]
                detail["force"] = input["force"]
                return Operation.Note("", detail)
            },
            recording: Self.record
        ) { input, project, context in
            try await change(input, project, context)
        }
    }

    private static let answer = JSONSchema.output([
        .required("id", .string()), .required("name", .string()), .required("image", .string()),
        .optional("snapshot", .string("Id of the snapshot that has what was in /workspace.")),
        .optional("snapshotError", .string("Why there is none, although there may have been something.")),
    ])

    private static func record(_ answer: Answer) -> [String: JSONValue] {
        var detail: [String: JSONValue] = [:]
        detail["snapshot"] = answer.snapshot.map { .string($0.description) }
        detail["snapshotError"] = answer.snapshotError.map { .string($0.shortened) }
        return detail
    }

    private func change(_ input: Input, _ project: Project, _ context: OperationContext) async throws -> Answer {
        var answer = Answer(id: project.id, name: project.name, image: input.image)
        guard input.image != project.image else { return answer }
        try await projects.requireImage(input.image, for: project)
        let force = input.force ?? false
        try await projects.stopToSave(project, isForced: force, context)
        let saved = try await snapshots.requireVerified(
            project, reason: .image, step: "given another image", isForced: force, context: context)
        switch saved {
        case .nothing: break
        case .saved(let snapshot): answer.snapshot = snapshot.id
        case .unsaved(let failure): answer.snapshotError = failure.message
        }
        let changed = try await projects.setImage(input.image, of: project)
        // Who needed it meanwhile had a container of the old image.
        try await projects.stopToSave(changed, isForced: true, context)
        return answer
    }
}
