import ArgumentParser
import FastableCore
import Foundation

struct WebhookCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "webhook", abstract: "Have an address told what happens, by signed POSTs.",
        discussion: """
            An endpoint gets every event of the workspace in order, each again until it
            answers with 2xx. After 72 hours without success a webhook is switched off;
            ‘webhook resume’ goes on with the event that failed.

            Example: fastable webhook create https://example.com/hook
            """,
        subcommands: [Create.self, List.self, Test.self, Resume.self, Delete.self])

    struct Webhook: Codable {
        var id: String
        var url: String
        var state: String
        var kinds: [String]
        var lastProblem: String?
        var secret: String?
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Make a webhook and print its secret, this once.",
            discussion: """
                Examples:
                  fastable webhook create https://example.com/hook
                  fastable webhook create https://example.com/hook --kind container.changed
                  fastable webhook create https://example.com/ops --fleet --description alerts

                The secret checks signatures, as Standard Webhooks says.
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "An address on the public internet: https://…") var url: String
        @Option(
            help: "Only this kind of event; may be repeated.", completion: .list(EventKind.allCases.map(\.rawValue))
        ) var kind: [String] = []
        @Option(help: "What it is for.") var description = ""
        @Flag(help: "Tell it of nodes that come and go, too.") var fleet = false

        func run() async throws {
            let input: JSONValue = [
                "url": .string(url), "kinds": .array(kind.map { .string($0) }), "description": .string(description),
                "fleet": .bool(fleet),
            ]
            try await common.show("webhooks_create", input, as: Webhook.self) { webhook in
                "Created \(webhook.id). Its secret, shown this once:\n\(webhook.secret ?? "")"
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List the webhooks and how their deliveries are.", discussion: "Example: fastable webhook list")
        @OptionGroup var common: CommonOptions

        struct Answer: Codable { var webhooks: [Webhook] }

        func run() async throws {
            try await common.show("webhooks_list", [:], as: Answer.self) { answer in
                Output.table(
                    ["ID", "STATE", "KINDS", "URL", "LAST PROBLEM"],
                    answer.webhooks.map {
                        let kinds = $0.kinds.isEmpty ? "all" : $0.kinds.joined(separator: ",")
                        return [$0.id, $0.state, kinds, $0.url, $0.lastProblem ?? "–"]
                    })
            }
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "test",
            abstract: "Send a webhook a test event and tell whether it was taken.",
            discussion: "Example: fastable webhook test whk_…")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its id, from ‘webhook list’.") var webhook: String

        struct Answer: Codable {
            var delivered: Bool
            var problem: String?
        }

        func run() async throws {
            try await CommandFailure.explained {
                let data = try await common.client().run("webhooks_test", ["webhook": .string(webhook)])
                if common.json { try Output.json(data) }
                let answer = try JSON.decode(Answer.self, from: data)
                guard answer.delivered else {
                    throw FastableError(.conflict, "The endpoint \(answer.problem ?? "did not take it").")
                }
                if !common.json { try Output.line("The endpoint took it.") }
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume",
            abstract: "Switch a webhook on again, or try a failing one at once.",
            discussion: "Example: fastable webhook resume whk_…")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its id, from ‘webhook list’.") var webhook: String

        func run() async throws {
            try await common.show("webhooks_resume", ["webhook": .string(webhook)], as: Webhook.self) {
                "Resumed \($0.id)."
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete",
            abstract: "Delete a webhook: it is told nothing more.",
            discussion: "Example: fastable webhook delete whk_…")
        @OptionGroup var common: CommonOptions
        @Argument(help: "Its id, from ‘webhook list’.") var webhook: String

        func run() async throws {
            try await common.show("webhooks_delete", ["webhook": .string(webhook)], as: JSONValue.self) { _ in
                "Deleted."
            }
        }
    }
}
