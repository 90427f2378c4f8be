import ArgumentParser
import FastableCore
import Foundation

extension NodeCommand {
    struct Drain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "drain",
            abstract: "Move all projects of a node to others, and place none there.",
            discussion: """
                Each project is saved as a snapshot, which is checked and restored on another
                node before this one gives it up. What works in a container is waited for, as
                long as it takes, or until --deadline seconds are over; --now ends it.
                /workspace is kept, and nothing else. A project that cannot be moved stays
                where it is and can be used; it is tried again.

                The drain goes on when this command ends, and over restarts of the controller.
                ‘fastable node uncordon’ cancels it.

                Examples:
                  fastable node drain build-1 --wait
                  fastable node drain build-1 --deadline 3600
                  fastable node drain build-1 --now --wait
                  fastable node drain build-1 --force prj_01kaaaaaaaaaaaaaaaaaaaaaaa
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "The node: its name or id.") var node: String
        @Flag(help: "Wait until the node is empty, and tell what happens.") var wait = false
        @Option(help: ArgumentHelp("How long commands may go on; then they are asked to end.", valueName: "seconds"))
        var deadline: Int?
        @Flag(help: "Ask commands to end at once.") var now = false
        @Option(
            help: ArgumentHelp(
                "Move it from its last snapshot when its content cannot be saved; may be repeated.",
                valueName: "project id"))
        var force: [String] = []

        func validate() throws {
            guard !now || deadline == nil else { throw ValidationError("Give --now or --deadline, not both.") }
        }

        private struct Answer: Decodable {
            struct Drain: Decodable {
                struct Entry: Decodable {
                    var project: String
                    var name: String
                    var state: String
                    var message: String?
                }
                var total: Int
                var left: Int
                var projects: [Entry]
            }

            var state: String
            var projects: Int
            var drain: Drain?
        }

        func run() async throws {
            try await CommandFailure.explained {
                var input: [String: JSONValue] = ["node": .string(node)]
                input["deadlineSeconds"] = (now ? 0 : deadline).map { .integer(Int64($0)) }
                if !force.isEmpty { input["force"] = .array(force.map { .string($0) }) }
                let client = try common.client()
                var answer = try await client.run("nodes_drain", .object(input))
                if wait { answer = try await follow(client, from: answer) }
                if common.json { return try Output.json(answer) }
                let shown = try JSON.decode(Answer.self, from: answer)
                guard let drain = shown.drain else { return try Output.line("\(node) is drained.") }
                try Output.line(
                    "\(node) is drained: \(drain.left) of \(drain.total) projects are left. ‘fastable node show \(node)’ tells how far "
                        + "it is.")
            }
        }

        /// Returns when the node is empty. Throws when somebody cancels the drain.
        private func follow(_ client: Client, from first: Data) async throws -> Data {
            var answer = first
            var told: [String: String] = [:]
            while true {
                let shown = try JSON.decode(Answer.self, from: answer)
                guard let drain = shown.drain else {
                    guard shown.projects == 0 else {
                        throw FastableError(
                            .conflict, "The drain of \(node) was cancelled: \(shown.projects) projects stay.")
                    }
                    return answer
                }
                if !common.json { try tell(drain, &told) }
                try await Task.sleep(for: .seconds(1))
                answer = try await again(client) ?? answer
            }
        }

        /// `nil` while the controller is away, over which the drain goes on.
        private func again(_ client: Client) async throws -> Data? {
            do { return try await client.run("nodes_get", ["node": .string(node)]) } catch let error as FastableError
                where error.code == .unavailable || error.code == .timeout
            {
                return nil
            }
        }

        /// Each project's state once.
        private func tell(_ drain: Answer.Drain, _ told: inout [String: String]) throws {
            for entry in drain.projects {
                let state = entry.state == "moving" ? "moving" : "\(entry.state): \(entry.message ?? "its turn comes")"
                guard told[entry.project] != state else { continue }
                told[entry.project] = state
                try Output.line("\(entry.name)  \(state)")
            }
            let line = "\(drain.left) of \(drain.total) left"
            guard told[""] != line else { return }
            told[""] = line
            try Output.line(line)
        }
    }
}
