import ArgumentParser
import FastableCore

/// Names and attributes: what `stat`, `mkdir`, `mv`, `cp` and `chmod` do.
extension FileCommand {
    struct Stat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stat",
            abstract: "Show what a path is.", discussion: "Example: fastable fs stat shop src/app.py --digest")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "Path in the workspace.") var path: String
        @Flag(name: [.customShort("L"), .long], help: "Follow a symbolic link.") var follow = false
        @Flag(help: "Also read the file for its sha256.") var digest = false

        func run() async throws {
            try await common.show(
                "fs.stat",
                [
                    "project": .string(project), "path": .string(path), "followLink": .bool(follow),
                    "digest": .bool(digest),
                ],
                as: FileStatResult.self
            ) { result in
                let kind = result.kind.rawValue + (result.symlinkTarget.map { " → \($0)" } ?? "")
                var rows = [
                    ["kind", kind], ["size", "\(result.sizeBytes) bytes"], ["mode", result.mode],
                    ["owner", [result.user, result.group].map { $0.map(String.init) ?? "?" }.joined(separator: ":")],
                ]
                if let sha256 = result.sha256 { rows.append(["sha256", sha256]) }
                return Output.table(["path", result.path], rows)
            }
        }
    }

    struct MakeDirectory: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mkdir", abstract: "Make a directory.",
            discussion: "Example: fastable fs mkdir -p shop src/components")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "Path in the workspace.") var path: String
        @Flag(name: .shortAndLong, help: "Those above it too; one that is there already is no error.")
        var parents = false

        func run() async throws {
            try await common.show(
                "fs.mkdir", ["project": .string(project), "path": .string(path), "parents": .bool(parents)],
                as: DirectoryMakeResult.self
            ) { $0.created ? "Made \($0.path)." : "\($0.path) exists already." }
        }
    }

    /// What copying and moving have in common.
    struct Replacing: ParsableArguments {
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "Path in the workspace.") var from: String
        @Argument(help: "The new name itself, not a directory to put it into.") var to: String
        @Flag(name: .shortAndLong, help: "Replace a file that is there.") var force = false
        @Option(help: "Only if the file that is there has this sha256 now; empty: only if nothing is there.")
        var ifMatch: String?

        var input: [String: JSONValue] {
            var input: [String: JSONValue] = [
                "project": .string(project), "from": .string(from), "to": .string(to), "overwrite": .bool(force),
            ]
            input["ifMatch"] = ifMatch.map { .string($0) }
            return input
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mv", abstract: "Move or rename a file or directory.",
            discussion: "Example: fastable fs mv shop src/old.py src/new.py")
        @OptionGroup var common: CommonOptions
        @OptionGroup var names: Replacing
        @Option(help: "Only if what is moved is a file that has this sha256 now.") var ifSourceMatch: String?

        func run() async throws {
            var input = names.input
            input["ifSourceMatch"] = ifSourceMatch.map { .string($0) }
            try await common.show("fs.move", .object(input), as: FileMoveResult.self) {
                "Moved \($0.from) to \($0.to)\($0.replaced ? ", which was replaced" : "")."
            }
        }
    }

    struct Copy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cp", abstract: "Copy a file, or a directory with all that is in it.",
            discussion: "Example: fastable fs cp -r shop site site-backup")
        @OptionGroup var common: CommonOptions
        @OptionGroup var names: Replacing
        @Flag(name: .shortAndLong, help: "A directory with all that is in it.") var recursive = false

        func run() async throws {
            var input = names.input
            input["recursive"] = .bool(recursive)
            try await common.show("fs.copy", .object(input), as: FileCopyResult.self) { result in
                if result.skipped > 0 { Output.error("left out \(result.skipped): FIFOs, sockets and devices") }
                return "Copied \(result.copied), \(Output.size(Int(result.sizeBytes))), to \(result.to)."
            }
        }
    }

    struct ChangeMode: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "chmod", abstract: "Change permissions.",
            discussion: "Example: fastable fs chmod shop 755 bin/start")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "Octal, for example 755.") var mode: String
        @Argument(help: "Path in the workspace.") var path: String
        @Option(help: "Only if it is a file that has this sha256 now.") var ifMatch: String?

        func run() async throws {
            var input: [String: JSONValue] = [
                "project": .string(project), "path": .string(path), "mode": .string(mode),
            ]
            input["ifMatch"] = ifMatch.map { .string($0) }
            try await common.show("fs.chmod", .object(input), as: FileModeChangeResult.self) {
                "\($0.path) has mode \($0.mode)."
            }
        }
    }
}
