import ArgumentParser
import FastableCore
import Foundation

struct ProjectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "project", abstract: "Create, list, show and delete projects; save and restore their workspaces.",
        discussion: """
            A project is one container with one directory, /workspace, that stay until it
            is deleted.

            Example: fastable project create shop
            """,
        subcommands: [
            Create.self, List.self, Get.self, Delete.self, Snapshot.self, Snapshots.self, Restore.self, Checkpoint.self,
            Checkpoints.self, Rollback.self, Fork.self, SetImage.self,
        ])

    struct Project: Codable {
        var id: String
        var name: String
        var image: String
        var node: String?
        var createdAt: Date
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Create a project, empty, from a git repository or from a snapshot.",
            discussion: """
                Examples:
                  fastable project create shop
                  fastable project create shop --git https://github.com/example/shop.git
                  fastable project create shop --git https://example.com/a.git --branch main
                  fastable project create big --cpus 2 --memory-mib 4096 --disk 20G
                  fastable project create again --from-snapshot snp_01…
                """)

        @OptionGroup var common: CommonOptions
        @Argument(help: "Lower-case letters, digits and dashes.") var name: String
        @Option(help: ArgumentHelp("Clone this repository into the workspace.", valueName: "url")) var git: String?
        @Option(help: "Branch or tag to clone.") var branch: String?
        @Option(help: ArgumentHelp("Begin with this snapshot, also one of a deleted project.", valueName: "id"))
        var fromSnapshot: String?
        @Option(help: "Image of the container, from ‘fastable image list’.") var image: String?
        @Option(help: "Cores the container may use.") var cpus: Double?
        @Option(help: ArgumentHelp("Memory limit in MiB.", valueName: "MiB")) var memoryMib: Int?
        @Option(help: "Processes and threads at most.") var pids: Int?
        @Option(help: ArgumentHelp("A disk of its own: bytes, or a number with M or G.", valueName: "size"))
        var disk: ByteCount?

        func run() async throws {
            var input: [String: JSONValue] = ["name": .string(name)]
            if let git {
                var origin: [String: JSONValue] = ["url": .string(git)]
                origin["branch"] = branch.map { .string($0) }
                input["git"] = .object(origin)
            }
            input["snapshot"] = fromSnapshot.map { .string($0) }
            input["image"] = image.map { .string($0) }
            var limits: [String: JSONValue] = [:]
            limits["cpus"] = cpus.map { .number($0) }
            limits["memoryBytes"] = memoryMib.map { .integer(Int64($0) * 1024 * 1024) }
            limits["pids"] = pids.map { .integer(Int64($0)) }
            limits["diskBytes"] = disk.map { .integer($0.bytes) }
            if !limits.isEmpty { input["limits"] = .object(limits) }
            try await common.work("projects_create", .object(input), as: Project.self) { project in
                "Created ‘\(project.name)’ (\(project.id)). Try: fastable exec \(project.name) -- ls -la"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the projects of your workspace.",
            discussion: "Example: fastable project list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable { var projects: [Project] }

        func run() async throws {
            try await common.show("projects_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["NAME", "IMAGE", "NODE", "CREATED", "ID"],
                    answer.projects.map { [$0.name, $0.image, $0.node ?? "–", $0.createdAt.ISO8601Format(), $0.id] })
            }
        }
    }

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "get",
            abstract: "Show one project and its container.",
            discussion: "Example: fastable project get shop")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws {
            try await common.show("projects_get", ["project": .string(project)], as: JSONValue.self) { answer in
                Describe.fields(answer)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete",
            abstract: "Delete a project with its container and all its files.",
            discussion: """
                What is in /workspace is saved first, as a snapshot that is kept for some time.

                Example: fastable project delete shop --yes
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Flag(help: "Do not ask.") var yes = false
        @Flag(help: "Also when its node is offline, or its content cannot be saved.") var force = false

        struct Answer: Codable {
            var snapshot: String?
            var snapshotError: String?
        }

        func run() async throws {
            if !yes {
                guard isatty(STDIN_FILENO) == 1 else {
                    throw ValidationError(
                        "Nobody can be asked here. Add --yes to delete ‘\(project)’ with all its files.")
                }
                try Output.bytes(Data("Delete ‘\(project)’ and all its files? Type its name: ".utf8))
                guard readLine() == project else { throw ExitCode(1) }
            }
            var input: [String: JSONValue] = ["project": .string(project)]
            if force { input["force"] = true }
            try await common.work("projects_delete", .object(input), as: Answer.self) { answer in
                let saved = answer.snapshot.map {
                    " To get it back: fastable project create NAME --from-snapshot \($0)"
                }
                let lost = answer.snapshotError.map { " Its content was not saved: \($0)" }
                return "Deleted ‘\(project)’.\(saved ?? lost ?? "")"
            }
        }
    }
}

/// An answer as lines of `name  value`, for commands whose answer is one thing.
enum Describe {
    static func fields(_ value: JSONValue, indent: String = "") -> String {
        guard case .object(let members) = value else { return indent + scalar(value) }
        let width = members.keys.map(\.count).max() ?? 0
        return members.sorted { $0.key < $1.key }.map { key, member in
            let name = indent + key + String(repeating: " ", count: width - key.count)
            switch member {
            case .object(let inner) where !inner.isEmpty: return name + "\n" + fields(member, indent: indent + "  ")
            case .null, .bool, .integer, .number, .string, .array, .object: return name + "  " + scalar(member)
            }
        }.joined(separator: "\n")
    }

    private static func scalar(_ value: JSONValue) -> String {
        switch value {
        case .null: "–"
        case .bool(let value): value ? "yes" : "no"
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .string(let value): value
        case .array(let values): values.map(scalar).joined(separator: ", ")
        case .object(let members):
            members.sorted { $0.key < $1.key }.map { "\($0)=\(scalar($1))" }.joined(separator: " ")
        }
    }
}
