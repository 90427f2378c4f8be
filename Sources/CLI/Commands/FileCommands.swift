import ArgumentParser
import FastableCore
import Foundation

struct FileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fs", abstract: "Read, write, edit and search the files of a project.",
        discussion: """
            Paths are relative to /workspace. None of these starts the container.

            Examples:
              fastable fs ls shop
              fastable fs read shop README.md
              fastable fs edit shop app.py --old 'debug = True' --new 'debug = False'
            """,
        subcommands: [
            Read.self, Write.self, UploadCommand.self, DownloadCommand.self, EditCommand.self, List.self, Glob.self,
            Grep.self, Delete.self, Stat.self,
            MakeDirectory.self, Move.self, Copy.self, ChangeMode.self, Watch.self,
        ])

    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "read",
            abstract: "Print a file, or list a directory.",
            discussion: """
                Examples:
                  fastable fs read shop README.md
                  fastable fs read shop server.log --offset 100 --limit 50
                  fastable fs read shop app.py --json | jq -r .sha256    for --if-match
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Path, relative to /workspace.") var path: String
        @Option(help: "First line, counted from 1.") var offset: Int?
        @Option(help: "Number of lines.") var limit: Int?

        func run() async throws {
            var input: [String: JSONValue] = ["project": .string(project), "path": .string(path)]
            input["offset"] = offset.map { .integer(Int64($0)) }
            input["limit"] = limit.map { .integer(Int64($0)) }
            try await CommandFailure.explained {
                let answer = try await common.client().run("fs.read", .object(input))
                if common.json { return try Output.json(answer) }
                let result = try JSON.decode(FileReadResult.self, from: answer)
                switch (result.content, result.encoding) {
                case (let content?, .base64?): try Output.bytes(Data(base64Encoded: content) ?? Data())
                case (let content?, _): try Output.bytes(Data(content.utf8))
                case (nil, _): try Output.line(List.text(result.entries ?? []))
                }
                if result.truncated, let first = result.firstLine, let count = result.lineCount {
                    Output.error(
                        "more follows; continue with --offset \(first + count), or take all of it: fastable fs download \(project) \(path)"
                    )
                }
            }
        }
    }

    struct Write: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "write",
            abstract: "Write standard input, or a text, to a file.",
            discussion: """
                Examples:
                  fastable fs write shop notes.txt < notes.txt
                  fastable fs write shop hello.txt --content 'Hello'
                  fastable fs write shop new.txt --content x --if-match ''    only if new
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Path, relative to /workspace.") var path: String
        @Option(parsing: .unconditional, help: "The text; standard input is read unless given.") var content: String?
        @Option(help: "Only if the file has this sha256 now; empty: only if it does not exist.") var ifMatch: String?

        func run() async throws {
            let bytes = content.map { Data($0.utf8) } ?? FileHandle.standardInput.readDataToEndOfFile()
            try await CommandFailure.explained {
                guard bytes.count <= Limits.fileWriteBytes else {
                    throw FastableError(
                        .tooLarge,
                        "This has \(Output.size(bytes.count)), and ‘fs write’ takes \(Output.size(Limits.fileWriteBytes)). Any size goes "
                            + "by: fastable fs upload \(project) FILE \(path)")
                }
            }
            var input: [String: JSONValue] = ["project": .string(project), "path": .string(path)]
            if let text = String(data: bytes, encoding: .utf8) {
                input["content"] = .string(text)
            } else {
                input["content"] = .string(bytes.base64EncodedString())
                input["encoding"] = "base64"
            }
            input["ifMatch"] = ifMatch.map { .string($0) }
            try await common.show("fs.write", .object(input), as: FileWriteResult.self) { result in
                "\(result.created ? "Created" : "Wrote") \(result.path), \(Output.size(result.sizeBytes))."
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "List a directory.", discussion: "Example: fastable fs ls shop src --depth 2",
            aliases: ["list"])
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Path, relative to /workspace.") var path = "."
        @Option(help: "Levels to descend.") var depth: Int?
        @Flag(name: .shortAndLong, help: "Hidden files too.") var all = false

        func run() async throws {
            var input: [String: JSONValue] = [
                "project": .string(project), "path": .string(path), "includeHidden": .bool(all),
            ]
            input["depth"] = depth.map { .integer(Int64($0)) }
            try await common.show("fs.list", .object(input), as: FileListResult.self) { result in
                if result.truncated { Output.error("there are more; list a directory below") }
                return List.text(result.entries)
            }
        }

        static func text(_ entries: [FileEntry]) -> String {
            guard !entries.isEmpty else { return "(empty)" }
            return Output.table(
                ["MODE", "SIZE", "NAME"],
                entries.map { entry in
                    let suffix =
                        switch entry.kind {
                        case .directory: "/"
                        case .symlink: " → " + (entry.symlinkTarget ?? "?")
                        case .file, .other: ""
                        }
                    return [entry.mode, Output.size(entry.sizeBytes), entry.name + suffix]
                })
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rm", abstract: "Delete a file or directory.",
            discussion: "Example: fastable fs rm shop node_modules --recursive")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String
        @Argument(help: "Path, relative to /workspace.") var path: String
        @Flag(name: .shortAndLong, help: "A directory with all that is in it.") var recursive = false
        @Option(help: "Only if it is a file that has this sha256 now.") var ifMatch: String?

        func run() async throws {
            var input: [String: JSONValue] = [
                "project": .string(project), "path": .string(path), "recursive": .bool(recursive),
            ]
            input["ifMatch"] = ifMatch.map { .string($0) }
            try await common.show(
                "fs.delete", .object(input), as: FileDeleteResult.self
            ) { "Deleted \($0.path) (\($0.removed) in all)." }
        }
    }
}
