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
