import ArgumentParser
import FastableCore
import Foundation

extension ProjectCommand {
    struct Snapshots: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "snapshots",
            abstract: "List snapshots, or delete one.",
            discussion: """
                Without a project all of your workspace are listed, those of deleted projects
                included.

                Examples:
                  fastable project snapshots shop
                  fastable project snapshots
                  fastable project snapshots --delete snp_01…
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String?
        @Option(help: ArgumentHelp("Delete this snapshot.", valueName: "id")) var delete: String?

        struct Answer: Codable {
            struct Aside: Codable {
                var projectName: String
                var node: String
                var since: Date
                var path: String?
            }

            var snapshots: [SnapshotAnswer]
            var setAside: [Aside]?
        }

        func run() async throws {
            if let delete {
                return try await common.show(
                    "projects_snapshot_delete", ["snapshot": .string(delete)], as: JSONValue.self
                ) { _ in "Deleted \(delete)." }
            }
            let input: JSONValue = project.map { ["project": .string($0)] } ?? [:]
            try await common.show("projects_snapshots", input, as: Answer.self) { answer in
                let table = Output.table(
                    ["ID", "PROJECT", "CREATED", "REASON", "FILES", "SIZE", "STATE", "UNTIL"],
                    answer.snapshots.map { snapshot in
                        [
                            snapshot.id, snapshot.projectName, snapshot.createdAt.ISO8601Format(), snapshot.reason,
                            "\(snapshot.entries)", Output.size(snapshot.contentBytes), snapshot.state,
                            snapshot.expiresAt?.ISO8601Format() ?? "–",
                        ]
                    })
                let aside = (answer.setAside ?? []).map { copy in
                    "Set aside on \(copy.node), as of \(copy.since.ISO8601Format()): \(copy.projectName), "
                        + (copy.path ?? "as soon as the node is back")
                }
                return ([table] + aside).joined(separator: "\n")
            }
        }
    }
}
