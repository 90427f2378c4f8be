import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// A project that asks for more than it may, beside one that does its work.
@Suite("Neighbours", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct NeighbourTests {
    private final class Count: Sendable {
        private let state = Atomic(0)
        var value: Int { state.load(ordering: .relaxed) }
        func add() { state.add(1, ordering: .relaxed) }
    }

    private static let calls = 640

    /// The switch by which all searches of a project stand still.
    private static func freezer(_ host: Installation, _ project: JSONValue?) throws -> String {
        let slice = "fastable.slice/fastable-\(host.nodeName(0))-containers.service"
        let groups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/\(slice)"].map {
            "\($0)/fastable-\(host.nodeName(0))/search-\(project?.string ?? "")/cgroup.freeze"
        }
        return try #require(groups.first { FileManager.default.fileExists(atPath: $0) })
    }

    private static func operationsInFlight(_ host: Installation) async throws -> Int {
        let text = String(decoding: try await host.request(.GET, "/metrics").body, as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("fastable_operations_in_flight ") }
        let number = try #require(line?.split(separator: " ").last.flatMap { Double($0) })
        return Int(number)
    }

    /// A search, by a client of its own with as many connections as it wants.
    private static func search(_ client: HTTPClient, _ host: Installation, token: String) async throws -> Int {
        var request = HTTPClientRequest(url: try host.apiURL() + "/api/tools/fs.grep")
        request.method = .POST
        request.headers = ["authorization": "Bearer \(token)", "content-type": "application/json"]
        request.body = .bytes(ByteBuffer(string: #"{"project": "greedy", "pattern": "needle"}"#))
        let response = try await client.execute(request, timeout: .minutes(10))
        for try await _ in response.body {}
        return Int(response.status.code)
    }

    private static func work(_ host: Installation, round: Int) async throws {
        let text = "needle \(round)\n"
        try await host.tool("fs.write", ["project": "modest", "path": "file", "content": .string(text)])
        #expect(try await host.tool("fs.read", ["project": "modest", "path": "file"])["content"]?.string == text)
        #expect(try await host.exec("modest", "cat file")["stdout"]?.string == text)
        let found = try await host.tool("fs.grep", ["project": "modest", "pattern": "needle"])
        #expect(found["matches"]?.array?.count == 1)
    }

    /// The searches of the one stand still, so every thread that the node has given to them stays with them. More are asked for than it has
    /// for all that waits.
    @Test(.endsInTime) func aFloodOfSearchesHoldsUpNobodyElse() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "modest"])
            let greedy = try await host.tool("projects_create", ["name": "greedy"])["id"]
            try await host.tool("fs.write", ["project": "greedy", "path": "file", "content": "needle\n"])
            try await host.tool("fs.grep", ["project": "greedy", "pattern": "needle"])
            try await Self.work(host, round: 0)
            var tokens: [String] = []
            for number in 0..<4 {
                let made = try await host.tool(
                    "tokens_create", ["name": .string("greedy-\(number)"), "scopes": ["files:read"]])
                tokens.append(try #require(made["token"]?.string))
            }
            let freezer = try Self.freezer(host, greedy)
            var configuration = HTTPClient.Configuration()
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.calls
            let client = HTTPClient(
                eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
            do {
                try "1".write(toFile: freezer, atomically: false, encoding: .utf8)
                let answered = Count()
                let flood = (0..<Self.calls).map { number in
                    Task { [tokens] in
                        defer { answered.add() }
                        return try await Self.search(client, host, token: tokens[number % tokens.count])
                    }
                }
                try await eventually("all have asked") { try await Self.operationsInFlight(host) >= Self.calls }
                for round in 1...10 { try await Self.work(host, round: round) }
                #expect(answered.value == 0, "the node waited until the others had given up")
                try "0".write(toFile: freezer, atomically: false, encoding: .utf8)
                var found = 0
                for call in flood where try await call.value == 200 { found += 1 }
                #expect(found > 0)
                print("\(found) of \(Self.calls) searches found what they looked for")
            } catch {
                try? "0".write(toFile: freezer, atomically: false, encoding: .utf8)
                try await client.shutdown()
                throw error
            }
            try await client.shutdown()
        }
    }
}
