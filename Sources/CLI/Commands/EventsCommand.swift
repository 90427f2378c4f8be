import ArgumentParser
import FastableCore
import Foundation
import NIOHTTP1

struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show what happens: containers that start and stop, projects, nodes.",
        discussion: """
            Shows what is kept, oldest first (30 days), and ends. With --follow it goes on
            with what happens from now on, or behind the event --after; when the connection
            is lost it comes back by itself and goes on where it was.

            Examples:
              fastable events --project shop
              fastable events --follow --kind container.changed
              fastable events --follow --after 4711 --json

            Each line of --json is one event. The kind ‘lost’ means that some are no longer
            kept: look at everything again. Kinds:
              \(EventKind.allCases.map(\.rawValue).joined(separator: "\n  "))
            """)

    @OptionGroup var common: CommonOptions
    @Option(help: "Only this project: its name or id.") var project: String?
    @Option(
        help: "Only this kind; may be repeated.", completion: .list(EventKind.allCases.map(\.rawValue))
    ) var kind: [String] = []
    @Flag(name: .shortAndLong, help: "Go on until it is interrupted.") var follow = false
    @Option(help: ArgumentHelp("Begin behind this event.", valueName: "id")) var after: String?

    func run() async throws {
        try await CommandFailure.explained {
            let client = try common.client()
            var follower = EventFollower(
                client: client, request: { client.request(.GET, "/api/events?\(query(after: $0 ?? after))") },
                show: show)
            if follow { try await follower.follow() } else { try await follower.readOnce() }
        }
    }

    private func query(after event: String?) -> String {
        var query = URLComponents()
        query.queryItems = [URLQueryItem(name: "follow", value: follow ? "true" : "false")]
        let wanted = [
            "project": project, "after": event, "kinds": kind.isEmpty ? nil : kind.joined(separator: ","),
        ]
        for (name, value) in wanted {
            if let value { query.queryItems?.append(URLQueryItem(name: name, value: value)) }
        }
        // A plus would be read as a space.
        return (query.percentEncodedQuery ?? "").replacingOccurrences(of: "+", with: "%2B")
    }

    private struct Event: Decodable {
        var kind: String
        var at: Date
        var project: String?
        var node: String?
        var data: [String: JSONValue]
    }

    private func show(_ name: String, _ data: Data) throws {
        if common.json { return try Output.line(String(decoding: data, as: UTF8.self)) }
        guard name != "lost" else { return Output.error("some events are no longer kept; look at everything again") }
        let event = try JSON.decode(Event.self, from: data)
        let kind = event.kind.padding(toLength: 17, withPad: " ", startingAt: 0)
        let what = [event.project ?? event.node, event.data["name"]?.string, Self.change(event.data)]
        try Output.line("\(event.at.ISO8601Format())  \(kind)  " + what.compactMap(\.self).joined(separator: "  "))
    }

    private static func change(_ data: [String: JSONValue]) -> String? {
        guard let from = data["from"]?.string, let to = data["to"]?.string else { return nil }
        return "\(from) → \(to)  \(data["reason"]?.string ?? "")"
    }
}
