import ArgumentParser
import FastableCore
import Foundation

struct ImageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Manage the images that containers start from.",
        discussion: "Example: fastable image add node22 docker://docker.io/library/node:22",
        subcommands: [List.self, Add.self, Remove.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the images of all nodes.",
            discussion: "Example: fastable image list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable {
            struct Entry: Codable {
                var node: String
                var name: String
                var source: String
                var sizeBytes: Int
            }
            var images: [Entry]
        }

        func run() async throws {
            try await common.show("images_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["NAME", "NODE", "SIZE", "SOURCE"],
                    answer.images.map { [$0.name, $0.node, Output.size($0.sizeBytes), $0.source] })
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add",
            abstract: "Register an image on one node, or on all.",
            discussion: """
                Examples:
                  fastable image add mine dir:/srv/rootfs         a root filesystem, copied
                  fastable image add mine inplace:/srv/rootfs     the same, used where it is
                  fastable image add mine oci:/srv/layout:latest  an OCI image directory
                  fastable image add node22 docker://docker.io/library/node:22

                Paths are paths on the node.
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "What to call it.") var name: String
        @Argument(help: "Where it comes from.") var source: String
        @Option(help: "Only on this node.") var node: String?

        func run() async throws {
            var input: [String: JSONValue] = ["name": .string(name), "source": .string(source)]
            input["node"] = node.map { .string($0) }
            try await common.show("images_add", .object(input), as: JSONValue.self) { _ in "Added ‘\(name)’." }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove",
            abstract: "Remove an image that no container uses.",
            discussion: "Example: fastable image remove node22")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its name.") var name: String
        @Option(help: "Only on this node.") var node: String?

        func run() async throws {
            var input: [String: JSONValue] = ["name": .string(name)]
            input["node"] = node.map { .string($0) }
            try await common.show("images_remove", .object(input), as: JSONValue.self) { _ in "Removed ‘\(name)’." }
        }
    }
}

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Manage the tokens of your workspace.",
        discussion: "Example: fastable token create agent --scope exec >agent.token",
        subcommands: [List.self, Create.self, Revoke.self])

    struct Token: Codable {
        var id: String
        var name: String
        var scopes: [String]
        var expiresAt: Date?
        var token: String?
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the tokens; their secrets are stored nowhere.",
            discussion: "Example: fastable token list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable { var tokens: [Token] }

        func run() async throws {
            try await common.show("tokens_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["NAME", "SCOPES", "EXPIRES", "ID"],
                    answer.tokens.map {
                        [$0.name, $0.scopes.joined(separator: ","), $0.expiresAt?.ISO8601Format() ?? "never", $0.id]
                    })
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Make a token and print it, this once.",
            discussion: """
                Examples:
                  fastable token create ci --scope exec >ci.token
                  fastable token create agent --scope exec --scope files:read \\
                    --scope files:write --scope projects:read --expires-in-days 30

                Scopes: projects:read, projects:write, exec, files:read, files:write, and
                admin, which implies all.
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "What it is for.") var name: String
        @Option(help: "What it allows; may be repeated.")
        var scope: [String] = []
        @Option(help: "Days until it expires; it never does unless given.") var expiresInDays: Int?

        func run() async throws {
            var input: [String: JSONValue] = ["name": .string(name), "scopes": .array(scope.map { .string($0) })]
            input["expiresInSec"] = expiresInDays.map { .integer(Int64($0) * 86_400) }
            try await common.show("tokens_create", .object(input), as: Token.self) { $0.token ?? "" }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke",
            abstract: "Make a token worthless at once.",
            discussion: "Example: fastable token revoke ID")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its id, from ‘token list’.") var token: String

        func run() async throws {
            try await common.show("tokens_revoke", ["token": .string(token)], as: JSONValue.self) { _ in "Revoked." }
        }
    }
}

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Read and verify the audit chain.",
        discussion: "Example: fastable audit list --project shop", subcommands: [List.self, Verify.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "Show the newest entries.",
            discussion: "Example: fastable audit list --project shop --limit 10")
        @OptionGroup var common: CommonOptions
        @Option(help: "Only this project.") var project: String?
        @Option(help: "How many.") var limit = 50

        func run() async throws {
            var input: [String: JSONValue] = ["limit": .integer(Int64(limit))]
            input["project"] = project.map { .string($0) }
            try await common.show("audit_list", .object(input), as: JSONValue.self) { answer in
                (answer["events"]?.array ?? []).map { event in
                    ["sequence", "at", "principal", "operation", "phase", "code", "subject"]
                        .map { key in event[key].map { Describe.fields($0) } ?? "–" }.joined(separator: "  ")
                }.joined(separator: "\n")
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify",
            abstract: "Check that no entry was changed, removed or reordered.",
            discussion: "Example: fastable audit verify --json")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable {
            var valid: Bool
            var from: Int
            var entries: Int
            var brokenAt: Int?
        }

        func run() async throws {
            try await CommandFailure.explained {
                let answer = try await common.client().run("audit_verify", [:])
                let result = try JSON.decode(Answer.self, from: answer)
                if common.json {
                    try Output.json(answer)
                } else if result.valid {
                    let removed = result.from - 1
                    let since =
                        removed == 0
                        ? "" : ", from entry \(result.from) on: the retention removed the \(removed) before"
                    try Output.line("The chain of \(result.entries) entries is whole\(since).")
                }
                guard result.valid else {
                    throw FastableError(
                        .conflict,
                        "The chain is broken at entry \(result.brokenAt ?? 0): the database was changed. "
                            + "Keep a copy of it, and compare it with a backup.")
                }
            }
        }
    }
}
