import ArgumentParser
import FastableCore
import Foundation

struct EditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Replace exact texts in a file: all of them or none.",
        discussion: """
            Edits are made in order, each on the result of the one before. A text must
            occur exactly once unless --all is given: take enough lines around it.

            Examples:
              fastable fs edit shop app.py --old 'debug = True' --new 'debug = False'
              fastable fs edit shop app.py --old 'a = 1' --new 'a = 2' --old b --new c
              fastable fs edit shop app.py --edits - < edits.json

            edits.json is a list:
              [{"oldString": "a", "newString": "b"},
               {"oldString": "c", "newString": "d", "replaceAll": true}]
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Argument(help: "Path, relative to /workspace.") var path: String
    @Option(
        parsing: .unconditionalSingleValue, help: "The text to replace, exactly; may be repeated, each with its --new.")
    var old: [String] = []
    @Option(parsing: .unconditionalSingleValue, help: "What to put in its place; may be empty.")
    var new: [String] = []
    @Flag(help: "Replace every occurrence.") var all = false
    @Option(help: ArgumentHelp("Take the edits from this JSON file; - is standard input.", valueName: "file"))
    var edits: String?
    @Option(
        help: ArgumentHelp(
            "Only if the file has this sha256 now, as ‘fastable fs read --json’ tells it.", valueName: "sha256"))
    var ifMatch: String?

    func validate() throws {
        let example = "fastable fs edit \(project) \(path) --old 'debug = True' --new 'debug = False'"
        if edits != nil {
            guard old.isEmpty, new.isEmpty, !all else {
                throw ValidationError(
                    "--edits takes the place of --old, --new and --all; say \"replaceAll\": true in the file instead.")
            }
        } else if old.isEmpty {
            throw ValidationError("Say what to replace, for example: \(example)")
        } else if old.count != new.count {
            throw ValidationError(
                "Each --old needs its --new: there are \(old.count) and \(new.count). For example: \(example)")
        }
    }

    func run() async throws {
        try await CommandFailure.explained {
            var input: [String: JSONValue] = ["project": .string(project), "path": .string(path)]
            input["edits"] = .array(try replacements())
            input["ifMatch"] = ifMatch.map { .string($0) }
            try await common.show("fs.edit", .object(input), as: FileEditResult.self) { result in
                "Replaced \(result.replacements) in \(result.path), line \(result.firstLine):\n\(result.snippet)"
            }
        }
    }

    private func replacements() throws -> [JSONValue] {
        guard let edits else {
            return zip(old, new).map { old, new in
                ["oldString": .string(old), "newString": .string(new), "replaceAll": .bool(all)]
            }
        }
        let bytes =
            edits == "-"
            ? FileHandle.standardInput.readDataToEndOfFile() : try Data(contentsOf: URL(fileURLWithPath: edits))
        guard let list = try? JSON.decode(JSONValue.self, from: bytes).array else {
            throw FastableError(
                .invalid,
                "\(edits == "-" ? "Standard input" : edits) must hold a JSON list like "
                    + #"[{"oldString": "a", "newString": "b"}]."#)
        }
        return list
    }
}
