import ArgumentParser
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Remember a controller and the file with a token for it.",
        discussion: """
            Example:
              fastable login --url https://ctl.example.com:7420 --token-file ~/ctl.token

            The first token stands in the file admin.token of the controller's state
            directory; ‘fastable token create’ makes more.
            """)

    @Option(help: "Address of the controller's API.") var url = "http://127.0.0.1:7420"
    @Option(help: "File with the token; its path is remembered, not its content.") var tokenFile: String
    @Option(help: "What to call this login, for --context.") var name = "default"
    @Flag(help: "Print the answer as JSON.") var json = false

    func run() async throws {
        try await CommandFailure.explained {
            let path = URL(fileURLWithPath: (tokenFile as NSString).expandingTildeInPath).path
            let context = Contexts.Context(url: url, tokenFile: path)
            // Any token may ask for the list of operations, whatever its scopes.
            let client = try Client(context: context)
            _ = try await client.send(client.request(.GET, "/api/tools"), timeout: .seconds(30))
            var known = try Contexts.load()
            known.contexts[name] = context
            known.current = name
            try known.save()
            guard !json else { return try Output.json(JSON.encode(["name": name, "apiUrl": client.url])) }
            try Output.line("Logged in to \(url) as ‘\(name)’.")
        }
    }
}

struct LogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout", abstract: "Forget a controller. The token stays valid.",
        discussion: """
            To make the token worthless too, revoke it first: fastable token revoke ID

            Example: fastable logout --name default
            """)

    @Option(help: "Which login to forget.") var name: String?
    @Flag(help: "Print the answer as JSON.") var json = false

    func run() async throws {
        try await CommandFailure.explained {
            var known = try Contexts.load()
            guard let name = name ?? known.current, known.contexts.removeValue(forKey: name) != nil else {
                let names = known.contexts.keys.sorted().joined(separator: ", ")
                throw FastableError(
                    .notFound,
                    name.map { "There is no login ‘\($0)’. Known: \(names.isEmpty ? "none" : names)." }
                        ?? "You are not logged in anywhere, so there is nothing to forget.")
            }
            if known.current == name { known.current = known.contexts.keys.min() }
            try known.save()
            guard !json else { return try Output.json(JSON.encode(["name": name])) }
            try Output.line("Forgot ‘\(name)’.")
        }
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the controller and its nodes.",
        discussion: """
            Needs a token with the scope admin.

            Examples:
              fastable status
              TOKEN=$(cat "$(fastable status --json | jq -r .tokenFile)")
            """)

    @OptionGroup var common: CommonOptions

    struct Answer: Codable {
        struct Node: Codable {
            var id: String
            var name: String
            var state: String
            var cgroup: String?
            var runtime: String?
            var projects: Int?
            var diskPressure: String?

            /// With what an operator has to look after.
            var shownState: String {
                guard let diskPressure, diskPressure != DiskPressure.none.rawValue else { return state }
                return "\(state), disk \(diskPressure)"
            }
        }
        var version: String
        var nodeListener: String
        var nodes: [Node]
        var projects: Int
    }

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            let answer = try await client.run("status", [:])
            if common.json {
                guard case .object(var fields) = try JSON.decode(JSONValue.self, from: answer) else { return }
                fields["apiUrl"] = .string(client.url)
                fields["mcpUrl"] = .string(client.url + "/api/mcp")
                fields["tokenFile"] = .string(client.tokenFile)
                return try Output.json(JSON.encode(JSONValue.object(fields)))
            }
            let status = try JSON.decode(Answer.self, from: answer)
            try Output.line(
                """
                Controller   \(client.url) (version \(status.version))
                MCP          \(client.url)/api/mcp
                Nodes dial   \(status.nodeListener)
                Token file   \(client.tokenFile)
                Projects     \(status.projects)

                """)
            try Output.line(
                Output.table(
                    ["NODE", "STATE", "RUNTIME", "CGROUP", "ID"],
                    status.nodes.map { [$0.name, $0.shownState, $0.runtime ?? "–", $0.cgroup ?? "–", $0.id] }))
        }
    }
}
