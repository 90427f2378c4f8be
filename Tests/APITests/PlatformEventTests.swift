import AsyncHTTPClient
import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct PlatformEventStreamTests {
    private static let event = PlatformEvent(
        workspace: .system, kind: .containerChanged, at: Date(milliseconds: 1_800_000_000_000), project: ProjectID(),
        data: ["from": "running", "to": "stopped", "reason": "line\nbreak"])

    private func stored(_ sequences: ClosedRange<Int64>) -> EventFeed.Element {
        .events(sequences.map { StoredEvent(sequence: $0, event: Self.event) })
    }

    @Test func eachEventHasItsPlaceAsId() async throws {
        try await withServer { server in
            server.backend.feed.withLock { $0 = [.lost(before: 7), stored(7...8), .passed(100), stored(101...101)] }
            let answer = try await server.get("/api/events?follow=false")
            #expect(answer.status == 200 && answer.headers.first(name: "content-type") == "text/event-stream")
            #expect(answer.headers.first(name: "x-accel-buffering") == "no")
            var reader = EventReader()
            reader.append(answer.body.readableBytesView)
            #expect(
                reader.events.map(\.event) == ["lost", "container.changed", "container.changed", "container.changed"])
            #expect(reader.events.map(\.id) == ["6", "7", "8", "101"])
            #expect(answer.text.contains("\n\nid: 100\n\n"), "a place alone is no event")
            #expect(
                try JSON.decode(JSONValue.self, from: Data(reader.events[0].data.utf8)) == [
                    "kind": "lost", "before": "7",
                ])
            let view: JSONValue = try JSON.decode(from: Data(reader.events[1].data.utf8))
            #expect(view["id"] == "7" && view["kind"] == "container.changed" && view["at"] == "2027-01-15T08:00:00Z")
            #expect(view["data"]?["reason"] == "line\nbreak" && view["node"] == nil)
            #expect(server.backend.probe.all.last == "events nil [] nil false")
        }
    }

    @Test func aReaderComesBackBehindItsLastEvent() async throws {
        try await withServer { server in
            func asked(_ query: String, last: String? = nil) async throws -> String? {
                var request = server.request(.GET, "/api/events?follow=false&\(query)")
                if let last { request.headers.add(name: "last-event-id", value: last) }
                #expect(try await server.send(request).status == 200)
                return server.backend.probe.all.last
            }
            let first = try await asked("after=12")
            #expect(first == "events nil [] 12 false")
            // A browser repeats the address that it was given first.
            let again = try await asked("after=12", last: "4711")
            #expect(again == "events nil [] 4711 false")
            let filtered = try await asked("project=shop&kinds=container.changed,node.connected", last: "0")
            #expect(filtered == "events shop [\"container.changed\", \"node.connected\"] 0 false")
        }
    }

    /// Events come as they happen, and the stream ends with its reader.
    @Test func itFollowsUnlessToldOtherwise() async throws {
        try await withServer { server in
            server.backend.feed.withLock { $0 = [stored(1...2)] }
            let response = try await server.client.execute(server.request(.GET, "/api/events"), timeout: .minutes(5))
            var reader = EventReader()
            for try await part in response.body {
                reader.append(part.readableBytesView)
                if reader.events.count == 2 { break }
            }
            #expect(server.backend.probe.all.contains("events nil [] nil true"))
            #expect(await server.backend.probe.saw("source cancelled"))
        }
    }

    @Test func whatIsWrongIsSaid() async throws {
        try await withServer { server in
            for query in ["after=x", "after=-1", "after=+1", "after=99999999999999999999", "follow=maybe", "x=1"] {
                let answer = try await server.get("/api/events?\(query)")
                #expect(answer.status == 400, "\(query)")
            }
            var request = server.request(.GET, "/api/events")
            request.headers.add(name: "last-event-id", value: "12-3")
            let damaged = try await server.send(request)
            #expect(damaged.status == 400)
            let nobody = try await server.get("/api/events", token: nil)
            #expect(nobody.status == 401)
            let reader = try await server.get("/api/events", token: TestBackend.readerToken)
            #expect(reader.status == 403)
        }
    }
}
