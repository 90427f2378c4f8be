import ArgumentParser
import FastableCore
import Foundation

extension FileCommand {
    struct Glob: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "glob",
            abstract: "Find files by name.",
            discussion: """
                Paths are printed as they are found; with --json all at the end, sorted.

                Example: fastable fs glob shop '**/*.ts'
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Pattern, as ripgrep's --glob takes it.") var pattern: String
        @Option(help: "Search below this path.") var path: String?
        @Flag(help: "Also files that .gitignore excludes.") var noIgnore = false

        func run() async throws {
            var input: [String: JSONValue] = [
                "project": .string(project), "pattern": .string(pattern), "includeIgnored": .bool(noIgnore),
            ]
            input["path"] = path.map { .string($0) }
            try await common.find("fs.glob", .object(input), advice: "narrow the pattern", as: FoundPath.self) {
                $0.path
            }
        }
    }

    struct Grep: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "grep",
            abstract: "Search file contents.",
            discussion: """
                Matches are printed as they are found; with --json all at the end.

                Example: fastable fs grep shop 'deprecated' --glob '*.py'
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Regular expression of ripgrep.") var pattern: String
        @Option(help: "Search below this path.") var path: String?
        @Option(help: "Only files whose path matches.") var glob: String?
        @Flag(name: .shortAndLong, help: "Ignore case.") var ignoreCase = false
        @Flag(name: [.customShort("F"), .long], help: "The pattern is plain text.") var fixedString = false
        @Flag(help: "Also files that .gitignore excludes.") var noIgnore = false

        func run() async throws {
            var input: [String: JSONValue] = [
                "project": .string(project), "pattern": .string(pattern), "ignoreCase": .bool(ignoreCase),
                "fixedString": .bool(fixedString), "includeIgnored": .bool(noIgnore),
            ]
            input["path"] = path.map { .string($0) }
            input["glob"] = glob.map { .string($0) }
            try await common.find(
                "fs.grep", .object(input), advice: "narrow the search", as: FileGrepResult.Match.self
            ) { "\($0.path):\($0.line):\($0.text)" }
        }
    }

    private struct FoundPath: Decodable { var path: String }
}

private struct SearchEnd: Decodable { var truncated: Bool }

extension CommonOptions {
    /// Runs a search and prints what it finds as it finds it.
    fileprivate func find<Item: Decodable>(
        _ operation: String, _ input: JSONValue, advice: String, as type: Item.Type, _ line: (Item) -> String
    ) async throws {
        try await CommandFailure.explained {
            let client = try client()
            if json { return try Output.json(try await client.run(operation, input)) }
            let end = try await client.follow(operation, input) { event, data in
                if event == "found" { try Output.line(line(try JSON.decode(type, from: data))) }
            }
            if try JSON.decode(SearchEnd.self, from: end).truncated { Output.error("there are more; \(advice)") }
        }
    }
}
