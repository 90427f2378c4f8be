import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

/// Reads the only command's output by REST, some megabytes at a time: as bytes, or as events. (The first one has a WebSocket.)
struct SecondFollower {
    private var generator: SeededGenerator
    private let readsEvents: Bool

    /// This follower did not get what it had a right to.
    private struct Lost: Error { var what: String }

    init(seed: UInt64) {
        generator = SeededGenerator(seed: ~seed)
        readsEvents = generator.chance(50)
    }

    /// Becomes known to the command before that prints: from then on it is waited for.
    func arrive(_ host: Installation) async throws {
        try await eventually("the second follower is known") {
            guard let exec = try await Self.exec(host) else { return false }
            return try await host.open(Self.path(exec, 0)).status == .ok
        }
        try await host.tool("fs.write", ["project": "p", "path": "gate", "content": ""])
    }

    private static func exec(_ host: Installation) async throws -> String? {
        try await host.tool("shell.list", ["project": "p"])["execs"]?.array?.first?["execId"]?.string
    }

    private static func path(_ exec: String, _ offset: Int? = nil) -> String {
        let path = "/api/execs/\(exec)/output?stream=stdout&follow=true&follower=second"
        return offset.map { "\(path)&offset=\($0)" } ?? path
    }

    func read(_ count: Int, _ host: Installation) async throws -> Data {
        var generator = generator
        var bytes = Data()
        var exec: String?
        var lastID: String?
        while bytes.count < count {
            try Task.checkCancellation()
            do {
                if exec == nil { exec = try await Self.exec(host) }
                guard let exec else { throw FastableError(.unavailable, "The command is not listed yet.") }
                let end = min(count, bytes.count + generator.int(1...8) << 20)
                if readsEvents {
                    try await readEvents(exec, to: end, host, after: &lastID, into: &bytes)
                } else {
                    try await read(exec, to: end, host, into: &bytes)
                }
            } catch let lost as Lost {
                throw lost
            } catch {
                // The daemons are killed again and again.
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        return bytes
    }

    private func read(_ exec: String, to end: Int, _ host: Installation, into bytes: inout Data) async throws {
        let response = try await host.open(Self.path(exec, bytes.count))
        guard response.status == .ok else { throw FastableError(.unavailable, "\(response.status)") }
        guard response.headers.first(name: "X-Fastable-Offset") == "\(bytes.count)" else {
            throw Lost(what: "the byte at \(bytes.count) is no longer kept")
        }
        for try await part in response.body {
            bytes.append(contentsOf: part.readableBytesView)
            if bytes.count >= end { return }
        }
        // A connection that breaks is an error; this is the end of the output.
        throw Lost(what: "the output ended at \(bytes.count)")
    }

    /// Goes on behind the last event that it has seen, as a browser does.
    private func readEvents(
        _ exec: String, to end: Int, _ host: Installation, after lastID: inout String?, into bytes: inout Data
    ) async throws {
        var headers: HTTPHeaders = ["accept": "text/event-stream"]
        if let lastID { headers.add(name: "last-event-id", value: lastID) }
        let response = try await host.open(.GET, Self.path(exec), headers: headers)
        guard response.status == .ok else { throw FastableError(.unavailable, "\(response.status)") }
        var text = Data()
        for try await part in response.body {
            text.append(contentsOf: part.readableBytesView)
            while let range = text.firstRange(of: Data("\n\n".utf8)) {
                let event = Event(text[..<range.lowerBound])
                text = Data(text[range.upperBound...])
                switch event.name {
                case "gap": throw Lost(what: "a gap at \(bytes.count)")
                case "stdout":
                    guard event.data["offset"]?.integer == Int64(bytes.count) else {
                        throw Lost(what: "\(event.data["offset"] ?? .null) came behind \(bytes.count)")
                    }
                    bytes += event.bytes
                case "result" where bytes.count < end: throw Lost(what: "the result came behind \(bytes.count)")
                default: break
                }
                lastID = event.id ?? lastID
            }
            if bytes.count >= end { return }
        }
        throw FastableError(.unavailable, "The events ended before the result.")
    }

    private struct Event {
        var id: String?
        var name: String?
        var data = JSONValue.null

        init(_ text: Data) {
            for line in text.split(separator: UInt8(ascii: "\n")) {
                guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
                let value = line[colon...].dropFirst(2)
                switch String(decoding: line[..<colon], as: UTF8.self) {
                case "id": id = String(decoding: value, as: UTF8.self)
                case "event": name = String(decoding: value, as: UTF8.self)
                case "data": data = (try? JSON.decode(from: Data(value))) ?? .null
                default: break
                }
            }
        }

        var bytes: Data {
            if let text = data["text"]?.string { return Data(text.utf8) }
            return data["base64"]?.string.flatMap { Data(base64Encoded: $0) } ?? Data()
        }
    }
}
