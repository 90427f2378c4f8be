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
        subcommands: [List.self, Show.self, Cordon.self, Uncordon.self, Drain.self, Remove.self, Token.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the nodes.",
            discussion: "Example: fastable node list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable { var nodes: [StatusCommand.Answer.Node] }

        func run() async throws {
            try await common.show("nodes_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["NAME", "STATE", "PROJECTS", "RUNTIME", "CGROUP", "ID"],
                    answer.nodes.map {
                        [
                            $0.name, $0.shownState, $0.projects.map { "\($0)" } ?? "–", $0.runtime ?? "–",
                            $0.cgroup ?? "–",
                            $0.id,
                        ]
                    })
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
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
            commandName: "cordon",
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
            commandName: "uncordon",
            abstract: "Place new projects on a node again; a drain is cancelled.",
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
            commandName: "remove",
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
            commandName: "token",
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
