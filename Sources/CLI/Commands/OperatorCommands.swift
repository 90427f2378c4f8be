import ArgumentParser
import FastableCore
import Foundation

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Manage the build hosts.",
        discussion: """
            Projects live on nodes. To add one:
              fastable node token >join-token
              fastable-node join --token-file join-token    (as root on the new host)
            """,
        subcommands: [List.self, Show.self, Cordon.self, Uncordon.self, Remove.self, Token.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the nodes.",
            discussion: "Example: fastable node list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable { var nodes: [StatusCommand.Answer.Node] }

        func run() async throws {
            try await common.show("nodes_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["NAME", "STATE", "RUNTIME", "CGROUP", "ID"],
                    answer.nodes.map { [$0.name, $0.state, $0.runtime ?? "–", $0.cgroup ?? "–", $0.id] })
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show all that is known of a node.",
            discussion: "Example: fastable node show build-1")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The node: its name or id.") var node: String
        func run() async throws {
            try await common.show("nodes_get", ["node": .string(node)], as: JSONValue.self) { Describe.fields($0) }
        }
    }

    struct Cordon: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Place no new projects on a node; what runs goes on.",
            discussion: "Example: fastable node cordon build-1")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The node: its name or id.") var node: String
        func run() async throws {
            try await common.show("nodes_cordon", ["node": .string(node)], as: JSONValue.self) { _ in
                "Cordoned \(node)."
            }
        }
    }

    struct Uncordon: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Place new projects on a node again.",
            discussion: "Example: fastable node uncordon build-1")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The node: its name or id.") var node: String
        func run() async throws {
            try await common.show("nodes_uncordon", ["node": .string(node)], as: JSONValue.self) { _ in
                "Uncordoned \(node)."
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a node: its certificate is revoked and its link is cut.",
            discussion: "Example: fastable node remove build-1")
        @OptionGroup var common: CommonOptions
        @Argument(help: "The node: its name or id.") var node: String
        @Flag(help: "Also when projects live on it; their files stay on the host.") var force = false
        func run() async throws {
            try await common.show(
                "nodes_remove", ["node": .string(node), "force": .bool(force)], as: JSONValue.self
            ) { _ in "Removed \(node)." }
        }
    }

    struct Token: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a join token: valid once, for an hour.",
            discussion: """
                Example:
                  fastable node token >join-token
                  fastable node token --node build-3 >join-token

                Then, as root on the build host:
                  fastable-node join --token-file join-token

                A node whose certificate ended while it was away joins again with
                --node: it keeps its id and its projects, and its old certificates are
                revoked.
                """)
        @OptionGroup var common: CommonOptions
        @Option(help: "A node that joins again: its name or id.") var node: String?

        struct Answer: Codable { var token: String }

        func run() async throws {
            var input: [String: JSONValue] = [:]
            input["node"] = node.map { .string($0) }
            try await common.show("nodes_join_token", .object(input), as: Answer.self) { $0.token }
        }
    }
}

struct ImageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Manage the images that containers start from.",
        discussion: "Example: fastable image add node22 docker://docker.io/library/node:22",
        subcommands: [List.self, Add.self, Remove.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
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
