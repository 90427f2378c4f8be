import ControllerDomain
import FastableCore

/// `devcontainer.*`.
struct ContainerOperations: Sendable {
    let projects: ProjectService

    var all: [Operation] { [ensure, status] }

    private struct Nothing: Decodable, Sendable {}

    private var ensure: Operation {
        .onProject(
            "devcontainer.ensure",
            .init(
                "Start the container",
                "Makes the project's container unless it runs already, and tells how it is. Not needed before other operations: "
                    + "they make it themselves. Fails with unavailable when no node can take it or its node is offline."
            ),
            scope: .exec, annotations: .writing(idempotent: true), input: Nothing.self, fields: [],
            answers: ProjectSchemas.container,
            recording: { ["state": .string($0.state.rawValue)] }
        ) { _, project, context in
            try await projects.ensure(try await projects.placed(project), request: context.requestID)
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
}
