import ArgumentParser
import AsyncHTTPClient
import FastableCore
import Foundation
import NIOHTTP1

extension FileCommand {
    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "watch",
            abstract: "Print what changes, until it is interrupted.",
            discussion: """
                ‘rescan’ means that some changes were lost: look at everything again. When
                the connection is lost it comes back by itself, and says so by a rescan.

                Example:
                  fastable fs watch shop src
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "A directory in the workspace.") var path = "."

        func run() async throws {
            try await CommandFailure.explained {
                let client = try common.client()
                var follower = EventFollower(client: client, request: { request(client, behind: $0) }, show: show)
                try await follower.follow()
            }
        }

        private func request(_ client: Client, behind event: String?) -> HTTPClientRequest {
            var request = client.request(.GET, ProjectPath.of(project, "watch", ["path": path]))
            if let event { request.headers.add(name: "last-event-id", value: event) }
            return request
        }

        private func show(_ event: String, _ data: Data) throws {
            guard event != "ready" else { return Output.error("watching \(path)") }
            if common.json { return try Output.line(String(decoding: data, as: UTF8.self)) }
            let change = try JSON.decode(FileWatchEvent.self, from: data)
            let suffix = change.isDirectory && change.kind != .rescan ? "/" : ""
            let from = change.from.map { "\($0)\(suffix) → " } ?? ""
            let reason = change.reason.map { "  (\($0))" } ?? ""
            let kind = change.kind.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
            try Output.line("\(kind)  \(from)\(change.path)\(suffix)\(reason)")
        }
    }
}
