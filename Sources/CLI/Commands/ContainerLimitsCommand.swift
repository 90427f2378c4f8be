import ArgumentParser
import FastableCore
import Foundation

extension ContainerCommand {
    struct Limits: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "limits",
            abstract: "Show or change what a container may use.",
            discussion: """
                Changes are in force at once, also while commands run, and for every later
                container. Limits that are not given stay as they are. A limit below what the
                container uses already is refused, and nothing is changed. With --workspace
                new projects of the workspace get a disk of that size; without --disk then,
                their nodes decide again.

                Examples:
                  fastable container limits shop
                  fastable container limits shop --memory 2G
                  fastable container limits shop --cpus 2 --memory 1536M --pids 1024
                  fastable container limits shop --disk 20G
                  fastable container limits --workspace --disk 10G
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String?
        @Flag(help: "For new projects of the workspace; their disk only. Needs the scope admin.") var workspace = false
        @Option(help: "Cores; 0.5 is half of one.") var cpus: Double?
        @Option(help: ArgumentHelp("Memory: bytes, or a number with K, M or G.", valueName: "size"))
        var memory: ByteCount?
        @Option(help: "Processes and threads at most.") var pids: Int?
        @Option(help: ArgumentHelp("Size of the project's disk, no less than is in use.", valueName: "size"))
        var disk: ByteCount?

        struct Values: Codable {
            var cpus: Double
            var memoryBytes: Int
            var pids: Int
            var diskBytes: Int?
        }

        struct Answer: Codable {
            var limits: Values
            var ceiling: Values
            var applied: Bool

            var text: String {
                let (now, most) = (limits, ceiling)
                let rows = [
                    ["cpus", "\(now.cpus)", "\(most.cpus)"],
                    ["memory", Output.size(now.memoryBytes), Output.size(most.memoryBytes)],
                    ["pids", "\(now.pids)", "\(most.pids)"],
                    ["disk", now.diskBytes.map(Output.size) ?? "standard", most.diskBytes.map(Output.size) ?? "-"],
                ]
                let table = Output.table(["LIMIT", "NOW", "CEILING"], rows)
                return applied ? table : table + "\nIts node is away and is told when it is back."
            }
        }

        struct WorkspaceAnswer: Codable {
            var diskBytes: Int?

            var text: String {
                diskBytes.map { "New projects have a disk of \(Output.size($0))." } ?? "The nodes decide about disks."
            }
        }

        func validate() throws {
            let isForWorkspace = project == nil && cpus == nil && memory == nil && pids == nil
            guard workspace ? !isForWorkspace : project == nil else { return }
            throw ValidationError("Name a project, or give --workspace with --disk only.")
        }

        func run() async throws {
            guard let project else {
                let input = disk.map { ["diskBytes": JSONValue.integer($0.bytes)] } ?? [:]
                return try await common.show("workspace_set_disk", .object(input), as: WorkspaceAnswer.self) { $0.text }
            }
            var input: [String: JSONValue] = ["project": .string(project)]
            input["cpus"] = cpus.map { .number($0) }
            input["memoryBytes"] = memory.map { .integer($0.bytes) }
            input["diskBytes"] = disk.map { .integer($0.bytes) }
            input["pids"] = pids.map { .integer(Int64($0)) }
            try await common.show("devcontainer.limits", .object(input), as: Answer.self) { $0.text }
        }
    }
}

/// A size as people write it: `1048576`, `512M`, `2G`. Units are powers of 1024.
struct ByteCount: ExpressibleByArgument {
    var bytes: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        let unit = argument.uppercased().last.flatMap { units[$0] }
        guard let number = Int64(unit == nil ? argument : String(argument.dropLast())), number >= 0 else { return nil }
        let (bytes, overflows) = number.multipliedReportingOverflow(by: unit ?? 1)
        guard !overflows else { return nil }
        self.bytes = bytes
    }
}
