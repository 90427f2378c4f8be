import ArgumentParser
import FastableCore
import Foundation

extension ProjectCommand {
    struct SnapshotAnswer: Codable {
        var id: String
        var projectName: String
        var createdAt: Date
        var reason: String
        var state: String
        var archiveBytes: Int
        var contentBytes: Int
        var entries: Int
        var changedFiles: Int
        var skipped: Int
        var consistent: Bool
        var expiresAt: Date?

        /// What a reader should know of its quality.
        var remarks: String {
            var remarks: [String] = []
            if changedFiles > 0 { remarks.append("\(changedFiles) files changed while they were read") }
            if changedFiles == 0, !consistent { remarks.append("the workspace changed meanwhile") }
            if skipped > 0 { remarks.append("\(skipped) FIFOs, sockets or devices left out") }
            return remarks.joined(separator: "; ")
        }
    }

    struct Snapshot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "snapshot",
            abstract: "Save a project's workspace on the controller.",
            discussion: """
                The whole of /workspace goes into an archive, which is read back before this
                ends. Commands may go on meanwhile; what changed is told.

                Example: fastable project snapshot shop
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        func run() async throws {
            try await common.work("projects_snapshot", ["project": .string(project)], as: SnapshotAnswer.self) {
                let remarks = $0.remarks.isEmpty ? "" : " (\($0.remarks))"
                return
                    "Saved \($0.entries) files, \(Output.size($0.contentBytes)), in \(Output.size($0.archiveBytes)): "
                    + "\($0.id)\(remarks)"
            }
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "restore",
            abstract: "Replace a project's workspace with a snapshot.",
            discussion: """
                What is there now is kept as a checkpoint, unless --discard-current is given.

                Examples:
                  fastable project restore shop
                  fastable project restore shop --at snp_01…
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Option(help: ArgumentHelp("Which snapshot; the newest one unless given.", valueName: "id")) var at: String?
        @Flag(help: "Do not keep what is there now.") var discardCurrent = false

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project)]
            input["at"] = at.map { .string($0) }
            if discardCurrent { input["discardCurrent"] = true }
            try await common.work("projects_restore", .object(input), as: ReplacedAnswer.self) {
                "Restored \($0.entries) files, \(Output.size($0.contentBytes)), from \($0.snapshot ?? "").\($0.way(project))"
            }
        }
    }

    /// The answer of what replaced a workspace.
    struct ReplacedAnswer: Codable {
        var snapshot: String?
        var checkpoint: String?
        var entries: Int
        var contentBytes: Int
        var replaced: String?

        /// How to get back.
        func way(_ project: String) -> String {
            replaced.map { " What was there before: fastable project rollback \(project) --at \($0)" } ?? ""
        }
    }

    // MARK: on the node

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "checkpoint",
            abstract: "Copy a project's workspace beside itself, to go back to.",
            discussion: """
                It lies on the project's own node and goes with it; ‘snapshot’ is for what must
                not be lost.

                Example: fastable project checkpoint shop --note 'before the upgrade'
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Option(help: "What it is for.") var note: String?

        struct Answer: Codable {
            var id: String
            var entries: Int
            var contentBytes: Int
            var changedFiles: Int
        }

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project)]
            input["note"] = note.map { .string($0) }
            try await common.work("projects_checkpoint", .object(input), as: Answer.self) {
                let remark = $0.changedFiles > 0 ? " (\($0.changedFiles) files changed while they were copied)" : ""
                return "Copied \($0.entries) files, \(Output.size($0.contentBytes)): \($0.id)\(remark)"
            }
        }
    }

    struct Checkpoints: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "checkpoints",
            abstract: "List the checkpoints of a project, or delete one.",
            discussion: """
                Examples:
                  fastable project checkpoints shop
                  fastable project checkpoints shop --delete ckp_01…
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Option(help: ArgumentHelp("Delete this checkpoint.", valueName: "id")) var delete: String?

        struct Answer: Codable {
            struct Checkpoint: Codable {
                var id: String
                var createdAt: Date
                var note: String
                var entries: Int?
                var contentBytes: Int?
            }

            var checkpoints: [Checkpoint]
        }

        func run() async throws {
            if let delete {
                return try await common.show(
                    "projects_checkpoint_delete", ["project": .string(project), "checkpoint": .string(delete)],
                    as: JSONValue.self
                ) { _ in "Deleted \(delete)." }
            }
            try await common.show("projects_checkpoints", ["project": .string(project)], as: Answer.self) { answer in
                Output.table(
                    ["ID", "CREATED", "FILES", "SIZE", "NOTE"],
                    answer.checkpoints.map {
                        [
                            $0.id, $0.createdAt.ISO8601Format(), $0.entries.map { "\($0)" } ?? "–",
                            $0.contentBytes.map(Output.size) ?? "–", $0.note,
                        ]
                    })
            }
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rollback",
            abstract: "Replace a project's workspace with one of its checkpoints.",
            discussion: """
                The checkpoint stays, and what is there now becomes another one.

                Examples:
                  fastable project rollback shop
                  fastable project rollback shop --at ckp_01…
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Option(help: ArgumentHelp("Which checkpoint; the newest one unless given.", valueName: "id")) var at: String?

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project)]
            input["at"] = at.map { .string($0) }
            try await common.work("projects_rollback", .object(input), as: ReplacedAnswer.self) {
                "Back at \($0.checkpoint ?? ""): \($0.entries) files, \(Output.size($0.contentBytes)).\($0.way(project))"
            }
        }
    }

    struct Fork: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "fork",
            abstract: "Make a new project with a copy of another one's workspace.",
            discussion: """
                Examples:
                  fastable project fork shop shop-try
                  fastable project fork shop shop-try --at ckp_01…
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Name of the new one.") var name: String
        @Option(help: ArgumentHelp("A checkpoint of the project; as it is now unless given.", valueName: "id"))
        var at: String?

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project), "name": .string(name)]
            input["at"] = at.map { .string($0) }
            try await common.work("projects_fork", .object(input), as: Project.self) {
                "Created ‘\($0.name)’ (\($0.id)) from ‘\(project)’."
            }
        }
    }
}

extension CommonOptions {
    /// How long the longest work may take.
    private static let workSeconds: Int64 = 12 * 3600

    /// Runs an operation that may take long, and shows its answer as `show` does. Who looks at a terminal sees how far it is.
    func work<Value: Decodable>(
        _ operation: String, _ input: JSONValue, as type: Value.Type, _ describe: (Value) -> String
    ) async throws {
        try await CommandFailure.explained {
            let line = ProgressLine()
            defer { line.clear() }
            let answer = try await client().follow(operation, input, timeoutSeconds: Self.workSeconds) { event, data in
                guard event == "progress" else { return }
                line.show(try JSON.decode(JSONValue.self, from: data))
            }
            line.clear()
            if json { return try Output.json(answer) }
            try Output.line(describe(try JSON.decode(type, from: answer)))
        }
    }
}

/// One line on a terminal that tells how far a work is; nothing anywhere else.
private struct ProgressLine {
    private let isShown = isatty(STDERR_FILENO) == 1

    func show(_ progress: JSONValue) {
        guard isShown, let message = progress["message"]?.string else { return }
        let percent =
            switch progress["fraction"] {
            case .number(let share)?: " \(Int(share * 100)) %"
            case .integer(let share)?: " \(share * 100) %"
            case nil, .null?, .bool?, .string?, .array?, .object?: ""
            }
        write("\r\u{1b}[K\(message)\(percent)")
    }

    func clear() { if isShown { write("\r\u{1b}[K") } }

    private func write(_ text: String) { try? Output.bytes(Data(text.utf8), to: STDERR_FILENO) }
}
