import ArgumentParser
import FastableCore
import Foundation

struct DevServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "Programs that run whenever a project's container does.",
        discussion: """
            A dev server is started again when it ends, and after its container was stopped,
            archived or moved. It keeps no idle container awake.

            Example: fastable dev start shop -- npm run dev
            """,
        subcommands: [Start.self, Stop.self, Restart.self, List.self, Logs.self])

    struct Server: Decodable {
        var name: String
        var state: String
        var cmd: String
        var execId: String?
        var failures: Int
        var problem: String?

        var text: String {
            let run = state == "running" ? execId.map { " (\($0))" } ?? "" : ""
            return "\(name): \(state)\(run)" + (problem.map { ". \($0)" } ?? "")
        }
    }

    struct Started: Decodable { var server: Server }

    /// One project's dev server.
    struct Name: ParsableArguments {
        @Argument(help: "The project: its name or id.") var project: String
        @Option(name: [.customShort("n"), .long], help: "Which one.") var name = "dev"

        var input: [String: JSONValue] { ["project": .string(project), "name": .string(name)] }
    }

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "start", abstract: "Start a dev server, now and with each container.",
            discussion: """
                The same command under the same name changes nothing; another one takes its
                place. Without a command one that was stopped starts again.

                Examples:
                  fastable dev start shop -- npm run dev
                  fastable dev start shop -n worker --cwd jobs -e QUEUE=mail -- node worker.js
                  fastable dev start shop -n worker
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: Name
        @Option(help: "Directory to run in; /workspace unless given.") var cwd: String?
        @OptionGroup var environment: EnvironmentOptions
        @Option(
            name: [.customShort("u"), .long],
            help: ArgumentHelp("Run it as this user of the container; root unless given.", valueName: "user"))
        var user: String?
        @Argument(parsing: .postTerminator, help: "The command.") var command: [String] = []

        func run() async throws {
            var input = server.input
            if !command.isEmpty {
                input["cmd"] = command.count == 1 ? .string(command[0]) : .array(command.map { .string($0) })
            }
            input["cwd"] = cwd.map { .string($0) }
            input["user"] = user.map { .string($0) }
            input["env"] = environment.json
            try await common.show("dev_server.start", .object(input), as: Started.self) { $0.server.text }
        }
    }

    struct Restart: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "restart", abstract: "End a dev server and start it anew.",
            discussion: "Example: fastable dev restart shop -n worker")
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: Name

        func run() async throws {
            let input = server.input.merging(["restart": true]) { $1 }
            try await common.show("dev_server.start", .object(input), as: Started.self) { $0.server.text }
        }
    }

    struct Stop: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stop", abstract: "End a dev server with all that it started.",
            discussion: """
                It stays ended until ‘dev start’. With --forget it is removed from the list.

                Examples:
                  fastable dev stop shop
                  fastable dev stop shop -n worker --forget
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: Name
        @Flag(help: "Keep nothing of it.") var forget = false

        struct Answer: Decodable {
            var name: String
            var everythingEnded: Bool
            var applied: Bool

            var text: String {
                guard applied else { return "\(name): its node is away and is told when it is back." }
                guard everythingEnded else { return "\(name): its node could not confirm its end. Stop it again." }
                return "\(name): nothing of it runs."
            }
        }

        func run() async throws {
            let input = server.input.merging(["forget": .bool(forget)]) { $1 }
            try await common.show("dev_server.stop", .object(input), as: Answer.self) { $0.text }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List a project's dev servers.",
            discussion: "Example: fastable dev list shop", aliases: ["ls"])
        @OptionGroup var common: CommonOptions
        @Argument(help: "The project: its name or id.") var project: String

        struct Answer: Decodable { var servers: [Server] }

        func run() async throws {
            try await common.show("dev_server.list", ["project": .string(project)], as: Answer.self) { answer in
                guard !answer.servers.isEmpty else {
                    return "No dev servers. Start one: fastable dev start \(project) -- npm run dev"
                }
                return Output.table(
                    ["NAME", "STATE", "FAILURES", "EXEC", "COMMAND"],
                    answer.servers.map { [$0.name, $0.state, "\($0.failures)", $0.execId ?? "-", $0.cmd] })
            }
        }
    }

    struct Logs: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "logs", abstract: "Show what a dev server has printed.",
            discussion: """
                Examples:
                  fastable dev logs shop
                  fastable dev logs shop -n worker --follow
                """)
        @OptionGroup var common: CommonOptions
        @OptionGroup var server: Name
        @Flag(name: [.customShort("f"), .long], help: "Go on with what it prints, until its run ends.") var follow =
            false
        @Option(help: ArgumentHelp("So much of the end of each stream.", valueName: "bytes")) var tail = 16 * 1024

        struct Answer: Decodable {
            var execId: String
            var stdout: String
            var stderr: String
        }

        func run() async throws {
            let input = server.input.merging(["bytes": .integer(Int64(tail))]) { $1 }
            guard follow else {
                return try await common.show("dev_server.logs", .object(input), as: Answer.self) { answer in
                    try? Output.bytes(Data(answer.stderr.utf8), to: STDERR_FILENO)
                    return answer.stdout
                }
            }
            try await CommandFailure.explained {
                let client = try common.client()
                let answer: Answer = try JSON.decode(from: try await client.run("dev_server.logs", .object(input)))
                let options = AttachSession.Options(tailBytes: UInt64(tail))
                throw ExitCode(try await AttachSession(client: client, exec: answer.execId, options: options).run())
            }
        }
    }
}
