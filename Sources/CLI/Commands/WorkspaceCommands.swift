import ArgumentParser
import FastableCore

struct WorkspaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workspace", abstract: "Show what a workspace has, and set what it may have.",
        discussion: """
            Examples:
              fastable workspace usage
              fastable workspace quota --containers 20 --memory 16G --disk 200G
            """,
        subcommands: [Usage.self, Quota.self])

    struct Answer: Codable {
        struct Amount<Value: Codable>: Codable {
            var used: Value
            var allowed: Value?
        }

        var workspace: String
        var containers: Amount<Int>
        var cpus: Amount<Double>
        var memoryBytes: Amount<Int>
        var diskBytes: Amount<Int>
        var projectsWithoutDisk: Int

        var text: String {
            func row<Value>(_ name: String, _ amount: Amount<Value>, _ text: (Value) -> String) -> [String] {
                [name, text(amount.used), amount.allowed.map(text) ?? "-"]
            }
            let table = Output.table(
                ["WHAT", "USED", "ALLOWED"],
                [
                    row("containers awake", containers) { "\($0)" }, row("their cpus", cpus) { "\($0)" },
                    row("their memory", memoryBytes, Output.size), row("disks", diskBytes, Output.size),
                ])
            guard projectsWithoutDisk > 0 else { return table }
            return table + "\nNothing bounds the files of projects without a disk of their own: \(projectsWithoutDisk)."
        }
    }

    struct Usage: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "usage", abstract: "Show what a workspace has beside what it may have.",
            discussion: "Example: fastable workspace usage")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its name or id; your own unless given. Others need the scope admin.") var workspace: String?

        func run() async throws {
            let input = workspace.map { ["workspace": JSONValue.string($0)] } ?? [:]
            try await common.show("projects_usage", .object(input), as: Answer.self) { $0.text }
        }
    }

    struct Quota: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "quota", abstract: "Set what a workspace may have.",
            discussion: """
                It replaces the earlier quota: what is not given has no bound. Containers that
                are awake already stay awake. Needs the scope admin.

                Examples:
                  fastable workspace quota --containers 20 --cpus 20 --memory 16G --disk 200G
                  fastable workspace quota other --containers 5
                  fastable workspace quota
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its name or id; your own unless given.") var workspace: String?
        @Option(help: "Containers that are awake at a time.") var containers: Int?
        @Option(help: "Sum of the CPU limits of those that are awake.") var cpus: Double?
        @Option(help: ArgumentHelp("Sum of the memory limits of those that are awake.", valueName: "size"))
        var memory: ByteCount?
        @Option(help: ArgumentHelp("Sum of the sizes of its projects' disks.", valueName: "size"))
        var disk: ByteCount?

        func run() async throws {
            var input: [String: JSONValue] = [:]
            input["workspace"] = workspace.map { .string($0) }
            input["containers"] = containers.map { .integer(Int64($0)) }
            input["cpus"] = cpus.map { .number($0) }
            input["memoryBytes"] = memory.map { .integer($0.bytes) }
            input["diskBytes"] = disk.map { .integer($0.bytes) }
            try await common.show("workspace_set_quota", .object(input), as: Answer.self) { $0.text }
        }
    }
}
