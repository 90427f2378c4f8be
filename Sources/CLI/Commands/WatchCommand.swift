import ArgumentParser
import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1

extension FileCommand {
    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what changes, until it is interrupted.",
            discussion: """
                ‘rescan’ means that some changes were lost: look at everything again.

                Example:
                  fastable fs watch shop src
                """)
        @OptionGroup var common: CommonOptions
        @Argument(help: "Name or id.") var project: String
        @Argument(help: "A directory in the workspace.") var path = "."

        func run() async throws {
            try await CommandFailure.explained {
                let client = try common.client()
                let request = client.request(.GET, ProjectPath.of(project, "watch", ["path": path]))
                let response = try await client.send(request, timeout: .hours(24 * 365))
                var lines = EventLines()
                do {
                    for try await chunk in response.body {
                        for (event, data) in lines.take(Array(chunk.readableBytesView)) { try show(event, data) }
                    }
                } catch {
                    throw Client.lost(error)
                }
                throw Client.lost(CancellationError())
            }
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

/// Takes an event stream apart, of which only the names and the one line of data of each event are of interest.
struct EventLines {
    private var partial: [UInt8] = []
    private var event = ""
    private var data = Data()

    mutating func take(_ bytes: [UInt8]) -> [(event: String, data: Data)] {
        var events: [(String, Data)] = []
        partial += bytes
        while let end = partial.firstIndex(of: 0x0a) {
            let line = String(decoding: partial[..<end], as: UTF8.self)
            partial.removeSubrange(...end)
            if line.hasPrefix("event: ") { event = String(line.dropFirst(7)) }
            if line.hasPrefix("data: ") { data = Data(line.utf8.dropFirst(6)) }
            if line.isEmpty {
                if !event.isEmpty { events.append((event, data)) }
                event = ""
            }
        }
        return events
    }
}
