import ArgumentParser
import FastableCore
import Foundation

struct ContainerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "container", abstract: "Suspend, wake, stop, archive, limit and explain a project's container.",
        discussion: """
            Nothing of this is needed to work: commands make, wake and start containers
            themselves, and idle ones are suspended and stopped by themselves.

            Example: fastable container explain shop
            """,
        subcommands: [
            Explain.self, Status.self, Ensure.self, Suspend.self, Resume.self, Stop.self, Restart.self, Archive.self,
            KeepAwake.self, Limits.self, Policy.self,
        ])

    struct State: Codable {
        var state: String
        var reason: String
    }

    struct Explanation: Codable { var text: String }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "explain",
            abstract: "Tell why a container is awake, suspended or stopped, and what happens next.",
            discussion: "Example: fastable container explain shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws {
            try await common.show("devcontainer.explain", ["project": .string(project)], as: Explanation.self) {
                $0.text
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status",
            abstract: "Show a container's state.", discussion: "Example: fastable container status shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws {
            try await common.show("devcontainer.status", ["project": .string(project)], as: JSONValue.self) {
                Describe.fields($0)
            }
        }
    }

    struct Ensure: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ensure",
            abstract: "Make the container unless it runs, or wake it.",
            discussion: "Example: fastable container ensure shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws { try await common.start("devcontainer.ensure", project) }
    }

    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "suspend",
            abstract: "Let a container's processes stand still until somebody needs them.",
            discussion: """
                Fails when commands run in it, unless --force is given: they then stand
                still as well, and their time limits go on.

                Examples:
                  fastable container suspend shop
                  fastable container suspend shop --force
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Flag(help: "Also when something works in it.") var force = false

        func run() async throws {
            try await common.change("devcontainer.suspend", project, force ? ["force": true] : [:])
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume",
            abstract: "Wake a suspended container.", discussion: "Example: fastable container resume shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws { try await common.change("devcontainer.resume", project) }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stop",
            abstract: "End a container with all its commands; files are kept.",
            discussion: "Example: fastable container stop shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws { try await common.change("devcontainer.stop", project) }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "restart",
            abstract: "End a container and make a new one; files are kept.",
            discussion: "Example: fastable container restart shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws { try await common.start("devcontainer.restart", project) }
    }

    struct Archive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "archive",
            abstract: "Save a project in the controller's store and free its space on its node.",
            discussion: """
                The container is ended, /workspace is saved and checked, and only then the
                project's files go from the node. The next use restores /workspace, on any
                node. Files outside of it, checkpoints and the output of commands are not kept.

                Example: fastable container archive shop
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws { try await common.change("devcontainer.archive", project) }
    }

    struct KeepAwake: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keep-awake", abstract: "Keep a container from being suspended for a while.",
            discussion: """
                Examples:
                  fastable container keep-awake shop --seconds 3600 --reason 'demo at three'
                  fastable container keep-awake shop --seconds 0
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Option(help: "For how long, from now on; 0 ends it.") var seconds: Int
        @Option(help: "What it is for. A second wish with the same reason replaces the first.") var reason: String?

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project), "seconds": .integer(Int64(seconds))]
            input["reason"] = reason.map { .string($0) }
            try await common.show("devcontainer.keep_awake", .object(input), as: Explanation.self) { $0.text }
        }
    }

    struct Policy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "policy",
            abstract: "Set when containers are suspended, stopped, archived and deleted.",
            discussion: """
                Settings that are not given are inherited: those of a project from its
                workspace, those of a workspace from the standard (30 minutes, a day, a week,
                30 days). 0 means never. ‘fastable project get’ shows what is in force.

                Examples:
                  fastable container policy shop --idle 3600
                  fastable container policy shop --idle 0
                  fastable container policy --workspace --idle 600 --stop-after 7200
                  fastable container policy --workspace --on-node-lost restore
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String?
        @Flag(help: "For all projects of the workspace that do not say otherwise. Needs the scope admin.")
        var workspace = false
        @Option(help: ArgumentHelp("Suspend after so long without work.", valueName: "seconds")) var idle: Int?
        @Option(help: ArgumentHelp("Stop after so long suspended.", valueName: "seconds")) var stopAfter: Int?
        @Option(help: ArgumentHelp("Archive after so long stopped.", valueName: "seconds")) var archiveAfter: Int?
        @Option(help: ArgumentHelp("Delete after so long archived.", valueName: "seconds")) var deleteAfter: Int?
        @Option(help: ArgumentHelp("When its node is lost: ‘wait’, or ‘restore’ elsewhere.", valueName: "what"))
        var onNodeLost: String?

        func validate() throws {
            guard workspace == (project != nil) else { return }
            throw ValidationError("Name a project, or give --workspace.")
        }

        struct Answer: Codable { var lifecycle: JSONValue }

        func run() async throws {
            var input: [String: JSONValue] = [:]
            input["project"] = project.map { .string($0) }
            let fields = [
                ("idleSeconds", idle), ("stopAfterSeconds", stopAfter), ("archiveAfterSeconds", archiveAfter),
                ("deleteAfterSeconds", deleteAfter),
            ]
            for (name, value) in fields { input[name] = value.map { .integer(Int64($0)) } }
            input["onNodeLost"] = onNodeLost.map { .string($0) }
            let operation = workspace ? "workspace_set_lifecycle" : "projects_set_lifecycle"
            try await common.show(operation, .object(input), as: Answer.self) { Describe.fields($0.lifecycle) }
        }
    }
}

extension CommonOptions {
    /// An operation on a container, whose answer is its state.
    fileprivate func change(_ operation: String, _ project: String, _ more: [String: JSONValue] = [:]) async throws {
        let input = more.merging(["project": .string(project)]) { $1 }
        try await show(operation, .object(input), as: ContainerCommand.State.self) { "\($0.state): \($0.reason)" }
    }

    /// One that starts it: its image may have to be pulled first.
    fileprivate func start(_ operation: String, _ project: String) async throws {
        try await work(operation, ["project": .string(project)], as: ContainerCommand.State.self) {
            "\($0.state): \($0.reason)"
        }
    }
}
