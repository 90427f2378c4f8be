import ControllerDomain
import ControllerFleet
import FastableCore

/// `devcontainer.*`.
struct ContainerOperations: Sendable {
    let projects: ProjectService
    let archiver: ProjectArchiver

    var all: [Operation] {
        [ensure, status, suspend, resume, stop, restart, archive, explain, keepAwake]
            + LimitOperations(projects: projects).all
    }

    private struct Nothing: Decodable, Sendable {}

    @Sendable private static func record(_ status: ContainerStatus) -> [String: JSONValue] {
        ["state": .string(status.state.rawValue)]
    }

    private var ensure: Operation {
        .onProject(
            "devcontainer.ensure",
            .init(
                "Start the container",
                "Makes the project's container unless it runs already, wakes a suspended one, and tells how it is. Not needed before "
                    + "other operations: they do it themselves. Fails with unavailable when no node can take it or its node is offline."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: Nothing.self, fields: [],
            answers: ProjectSchemas.container, recording: Self.record
        ) { _, project, context in
            let placed = try await projects.placed(project, telling: context.events)
            return try await projects.ensure(placed, request: context.requestID, telling: context.events)
        }
    }

    private var status: Operation {
        .onProject(
            "devcontainer.status",
            .init(
                "Show the container",
                "Tells the state of the project's container and why it is in it; `absent` before the first use. Starts nothing."
            ),
            scope: .projectsRead, annotations: .reading, input: Nothing.self, fields: [],
            answers: ProjectSchemas.container
        ) { _, project, context in
            try await projects.status(project, request: context.requestID)
        }
    }

    // MARK: down and up

    struct SuspendInput: Decodable, Sendable { var force: Bool? }

    private var suspend: Operation {
        .onProject(
            "devcontainer.suspend",
            .init(
                "Suspend the container",
                "Stops all processes of the container where they are; they take no CPU until the next command, or devcontainer.resume, "
                    + "lets them go on within milliseconds. Files can be used meanwhile. Fails with conflict naming what works in it, "
                    + "unless `force`. Nothing happens when no container runs."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: SuspendInput.self,
            fields: [
                .optional("force", .boolean("Also when commands run in it, whose deadlines go on.", default: false))
            ],
            answers: ProjectSchemas.container, recording: Self.record
        ) { input, project, context in
            try await projects.suspend(project, force: input.force ?? false, request: context.requestID)
        }
    }

    private var resume: Operation {
        .onProject(
            "devcontainer.resume",
            .init(
                "Wake the container",
                "Lets the processes of a suspended container go on. Not needed before a command: that wakes it. Makes no container; "
                    + "devcontainer.ensure does."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: Nothing.self, fields: [],
            answers: ProjectSchemas.container, recording: Self.record
        ) { _, project, context in
            try await projects.resume(project, request: context.requestID)
        }
    }

    private var stop: Operation {
        .onProject(
            "devcontainer.stop",
            .init(
                "Stop the container",
                "Ends all processes of the container, commands that run included. Files are kept; the next use makes a new container."
            ),
            scope: .exec, annotations: .writing(destructive: true, idempotent: true), input: Nothing.self, fields: [],
            answers: ProjectSchemas.container, recording: Self.record
        ) { _, project, context in
            try await projects.stop(project, by: context.principal, request: context.requestID)
        }
    }

    private var restart: Operation {
        .onProject(
            "devcontainer.restart",
            .init(
                "Restart the container",
                "Ends all processes of the container, commands that run included, and makes a new one. Files are kept."
            ),
            scope: .exec, annotations: .writing(destructive: true), input: Nothing.self, fields: [],
            answers: ProjectSchemas.container, recording: Self.record
        ) { _, project, context in
            let placed = try await projects.placed(project, telling: context.events)
            // Nothing ends that could not begin again, and nobody takes its room meanwhile.
            let admission = try await projects.capacity.admit(placed.project, on: placed.client.node)
            defer { admission.release() }
            _ = try await projects.stop(placed.project, by: context.principal, request: context.requestID)
            return try await projects.ensure(placed, request: context.requestID, telling: context.events)
        }
    }

    private var archive: Operation {
        .onProject(
            "devcontainer.archive",
            .init(
                "Archive the project",
                "Ends all processes of the container, saves /workspace as a snapshot in the controller's store, checks it, and only then "
                    + "gives the project's disk space on its node back: files outside of /workspace, checkpoints and the output of "
                    + "commands go. The next use restores it, on any node. Fails when it cannot be saved, and with conflict when "
                    + "somebody uses it meanwhile; nothing is removed then."
            ),
            scope: .projectsWrite, annotations: .writing(destructive: true, idempotent: true), input: Nothing.self,
            fields: [], answers: ProjectSchemas.container, recording: Self.record
        ) { _, project, context in
            if project.archive == nil, project.node != nil {
                _ = try await projects.stop(project, by: context.principal, request: context.requestID)
            }
            return projects.absent(try await archiver.archive(project))
        }
    }

    // MARK: why

    private var explain: Operation {
        .onProject(
            "devcontainer.explain",
            .init(
                "Explain the container's state",
                "Tells why the container is awake, suspended or stopped, since when, and what happens next and when: as `text` and as "
                    + "fields. Changes nothing and wakes nothing."
            ),
            scope: .projectsRead, annotations: .reading, input: Nothing.self, fields: [],
            answers: ProjectSchemas.explanation
        ) { _, project, context in
            try await projects.explain(project, request: context.requestID)
        }
    }

    struct KeepAwakeInput: Decodable, Sendable {
        var seconds: Int
        var reason: String?
    }

    private var keepAwake: Operation {
        .onProject(
            "devcontainer.keep_awake",
            .init(
                "Keep the container awake",
                "Keeps the container from being suspended for so many seconds, and wakes it if it is. A call with the same reason "
                    + "replaces the one before; 0 seconds end it, and without a reason all of them. It ends with the container."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: KeepAwakeInput.self,
            fields: [
                .required("seconds", .integer(0...Limits.keepAwakeSecondsHighest, "For how long; 0 ends it.")),
                .optional(
                    "reason",
                    .string(
                        "What it is for; told by devcontainer.explain.", minimumBytes: 1,
                        maximumBytes: Limits.leaseReasonBytes)),
            ],
            answers: ProjectSchemas.explanation,
            note: { input in
                var detail: [String: JSONValue] = [:]
                detail["seconds"] = input["seconds"]
                detail["reason"] = input["reason"]?.string.map { .string($0.shortened) }
                return Operation.Note("", detail)
            }
        ) { input, project, context in
            let wish = ContainerKeepAwake(project: project.id, seconds: input.seconds, reason: input.reason)
            return try await projects.keepAwake(project, wish, request: context.requestID)
        }
    }
}
