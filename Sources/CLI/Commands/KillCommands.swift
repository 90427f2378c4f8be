import ArgumentParser
import FastableCore

struct KillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill", abstract: "End a command, or everything in a project, a workspace, a node, or all.",
        discussion: """
            Without a subcommand it ends one command gently: SIGTERM, and whatever is left
            after the grace is killed, however it forked.

            The others end containers at once, and say which nodes have done it. A node
            that is away does it before anything else when it is back. With --hold nothing
            starts again until ‘kill lift’; with --network-only containers go on, and no
            packet goes in or out. Files are kept.

            Examples:
              fastable kill exe_01jc…
              fastable kill --signal SIGHUP exe_01jc…
              fastable kill project shop --reason 'mines coins' --hold
              fastable kill workspace --network-only --reason 'leaks data'
              fastable kill all --dry-run --reason 'what is there?'
              fastable kill list
              fastable kill lift ksw_01jc…
            """,
        subcommands: [
            One.self, Exec.self, Project.self, Workspace.self, Node.self, All.self, List.self, Lift.self,
        ], defaultSubcommand: One.self)

    struct One: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "command", abstract: "End a command and everything that it started, gently (the default).",
            discussion: """
                Example: fastable kill command exe_01jc… (or: fastable kill exe_01jc…)
                """)

        @OptionGroup var common: CommonOptions
        @Argument(help: "The id of the command.") var exec: String
        @Option(help: "Send just this signal, such as SIGINT.") var signal: String?
        @Option(help: "Seconds to end by itself (0 to \(Limits.execGraceLongestSeconds)).") var grace: Int?

        func run() async throws {
            var input: [String: JSONValue] = ["execId": .string(exec)]
            input["signal"] = signal.map(JSONValue.string)
            input["graceSec"] = grace.map { .integer(Int64($0)) }
            try await common.show("shell.kill", .object(input), as: Receipt.self) { receipt in
                guard receipt.everythingEnded else { return "The signal was sent." }
                return receipt.wasForced ? "Ended by force; nothing of it is left." : "Ended; nothing of it is left."
            }
        }

        private struct Receipt: Decodable {
            var everythingEnded: Bool
            var wasForced: Bool
        }
    }

    // MARK: by scope

    /// Why, and whether at all.
    struct Order: ParsableArguments {
        @Option(help: "Why; it goes into the audit, and whoever is refused is told.") var reason: String
        @Flag(help: "Only say what would be ended.") var dryRun = false

        var input: [String: JSONValue] {
            var input: [String: JSONValue] = ["reason": .string(reason)]
            if dryRun { input["dryRun"] = true }
            return input
        }
    }

    struct Reach: ParsableArguments {
        @Flag(help: "Let nothing start there until ‘kill lift’.") var hold = false
        @Flag(help: "Containers go on; no packet goes in or out until ‘kill lift’.") var networkOnly = false

        func add(to order: Order) -> [String: JSONValue] {
            var input = order.input
            if hold { input["hold"] = true }
            if networkOnly { input["networkOnly"] = true }
            return input
        }
    }

    struct Exec: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "exec",
            abstract: "End a command at once, also when its node is away.",
            discussion: "Example: fastable kill exec exe_01jc… --reason 'never ends'")
        @OptionGroup var common: CommonOptions
        @OptionGroup var order: Order
        @Argument(help: "The id of the command.") var exec: String

        func run() async throws {
            var input = order.input
            input["execId"] = .string(exec)
            try await KillReport.show("kill.exec", input, common)
        }
    }

    struct Project: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "project",
            abstract: "End everything in a project's container.",
            discussion: "Example: fastable kill project shop --reason 'mines coins' --hold")
        @OptionGroup var common: CommonOptions
        @OptionGroup var order: Order
        @OptionGroup var reach: Reach
        @Argument(help: "Name or id.") var project: String

        func run() async throws {
            var input = reach.add(to: order)
            input["project"] = .string(project)
            try await KillReport.show("kill.project", input, common)
        }
    }

    struct Workspace: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "workspace",
            abstract: "End everything in all containers of a workspace.",
            discussion: "Example: fastable kill workspace --reason 'stolen token' --hold")
        @OptionGroup var common: CommonOptions
        @OptionGroup var order: Order
        @OptionGroup var reach: Reach
        @Argument(help: "Name or id; your own unless given. Another one needs an operator.") var workspace: String?

        func run() async throws {
            var input = reach.add(to: order)
            input["workspace"] = workspace.map { .string($0) }
            try await KillReport.show("kill.workspace", input, common)
        }
    }

    struct Node: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "node",
            abstract: "End everything in all containers of a node. For operators.",
            discussion: "Example: fastable kill node build-1 --reason 'broken disk' --hold")
        @OptionGroup var common: CommonOptions
        @OptionGroup var order: Order
        @OptionGroup var reach: Reach
        @Argument(help: "The node: its name or id.") var node: String

        func run() async throws {
            var input = reach.add(to: order)
            input["node"] = .string(node)
            try await KillReport.show("admin_kill_node", input, common)
        }
    }

    struct All: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "all",
            abstract: "End everything in all containers of all nodes. For operators.",
            discussion: "Example: fastable kill all --reason 'an attack' --hold")
        @OptionGroup var common: CommonOptions
        @OptionGroup var order: Order
        @OptionGroup var reach: Reach

        func run() async throws { try await KillReport.show("admin_kill_all", reach.add(to: order), common) }
    }

    // MARK: what is on, and off

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the kill switches that are on.", discussion: "Example: fastable kill list")
        @OptionGroup var common: CommonOptions

        private struct Answer: Decodable {
            struct Entry: Decodable {
                var id: String
                var scope: String
                var target: String?
                var mode: String
                var holds: Bool
                var reason: String
                var by: String
                var awaited: [String]
            }

            var switches: [Entry]
        }

        func run() async throws {
            try await common.show("kill.list", [:], as: Answer.self) { answer in
                guard !answer.switches.isEmpty else { return "No kill switch is on." }
                return Output.table(
                    ["ID", "SCOPE", "MODE", "BY", "WAITS FOR", "REASON"],
                    answer.switches.map { entry in
                        let scope = entry.target.map { "\(entry.scope) \($0)" } ?? entry.scope
                        let mode = entry.mode == "kill" && entry.holds ? "kill, hold" : entry.mode
                        let awaited = entry.awaited.isEmpty ? "–" : entry.awaited.joined(separator: ",")
                        return [entry.id, scope, mode, entry.by, awaited, entry.reason]
                    })
            }
        }
    }

    struct Lift: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "lift",
            abstract: "Lift a kill switch.", discussion: "Example: fastable kill lift ksw_01jc…")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its id, from ‘kill list’.") var id: String

        func run() async throws {
            try await common.show("kill.lift", ["id": .string(id)], as: KillReport.self) { report in
                report.lines(["Lifted."]).joined(separator: "\n")
            }
        }
    }
}

/// What a switch has done, in lines.
struct KillReport: Decodable {
    struct Node: Decodable {
        var name: String
        var milliseconds: Int
        var containers: Int
        var unconfirmed: Int
        var problem: String?
    }

    struct Missing: Decodable {
        var name: String
        var why: String
    }

    struct Found: Decodable {
        var name: String
        var project: String
        var container: String?
        var execs: Int
    }

    var id: String?
    var mode: String
    var holds: Bool
    var dryRun: Bool
    var containers: Int
    var execs: Int
    var unconfirmed: Int
    var acknowledged: [Node]
    var missing: [Missing]
    var found: [Found]

    static func show(_ operation: String, _ input: [String: JSONValue], _ common: CommonOptions) async throws {
        try await common.show(operation, .object(input), as: KillReport.self) { $0.text }
    }

    private var text: String {
        guard !dryRun else { return dry }
        let what =
            "\(containers) container\(containers == 1 ? "" : "s") with \(execs) running command\(execs == 1 ? "" : "s")"
        let verb = mode == "network" ? "Cut off" : mode == "kill" ? "Ended" : "Nothing new starts beside"
        var lines = ["\(verb): \(what)."]
        if unconfirmed > 0 { lines.append("Not confirmed yet: \(unconfirmed). The nodes go on trying.") }
        if holds, let id { lines.append("It holds until: fastable kill lift \(id)") }
        return self.lines(lines).joined(separator: "\n")
    }

    func lines(_ first: [String]) -> [String] {
        first
            + acknowledged.map { node in
                "  \(node.name): acknowledged after \(node.milliseconds) ms\(node.problem.map { ". " + $0 } ?? "")"
            } + missing.map { "  \($0.name): NOT acknowledged: \($0.why)" }
    }

    private var dry: String {
        guard !found.isEmpty else { return "No container would be reached." }
        return Output.table(
            ["NODE", "PROJECT", "CONTAINER", "COMMANDS"],
            found.map { [$0.name, $0.project, $0.container ?? "–", "\($0.execs)"] })
    }
}
