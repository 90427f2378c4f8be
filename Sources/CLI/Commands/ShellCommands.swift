import ArgumentParser
import FastableCore
import Foundation

struct PsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "List a project's commands, newest first.",
        discussion: """
            Example:
              fastable ps shop
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "Name or id.") var project: String
    @Option(help: "Entries at most (1 to \(Limits.execsPerList)).") var limit = 20

    func run() async throws {
        try await common.show(
            "shell.list", ["project": .string(project), "limit": .integer(Int64(limit))], as: Answer.self
        ) { answer in
            guard !answer.execs.isEmpty else { return "No commands yet." }
            return Output.table(
                ["EXEC", "STARTED", "STATE", "COMMAND"],
                answer.execs.map { [$0.execId, $0.startedAt, $0.howItEnded, $0.line] })
        }
    }

    private struct Answer: Decodable {
        struct Entry: Decodable {
            var execId: String
            var cmd: String
            var startedAt: String
            var state: String
            var exitCode: Int32?
            var signal: String?
            var timedOut: Bool

            var howItEnded: String {
                guard state == "ended" else { return state }
                if timedOut { return "timed out" }
                return signal ?? exitCode.map { "exit \($0)" } ?? "ended"
            }

            var line: String {
                let first = cmd.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? ""
                return first.count > 60 ? first.prefix(59) + "…" : first
            }
        }

        var execs: [Entry]
    }
}

struct KillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill", abstract: "End a command and everything that it started.",
        discussion: """
            It gets SIGTERM, and whatever is left after the grace is killed, however it forked. With --signal only that signal is
            sent.

            Examples:
              fastable kill exe_01jc…
              fastable kill --signal SIGHUP exe_01jc…
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
