import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

/// What a search tells its listener while it goes on.
@Suite(.endsInTime) struct StreamedSearchTests {
    private static let glob: JSONValue = ["project": "shop", "pattern": "*"]

    private func tell(_ event: FileSearchEvent<String, FileGlobResult>, on stream: MuxStream) async throws {
        try await stream.send(message: ByteBuffer(bytes: try JSON.encode(event)))
    }

    @Test func resultsAreToldBeforeTheSearchHasEnded() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let (heard, hear) = AsyncStream<Void>.makeStream()
            nodes[0].handle(.fsGlobStream) { stream, _ in
                try await tell(.found(["b", "a"]), on: stream)
                // Nothing more before the listener has these.
                for await _ in heard { break }
                try await tell(.found(["c"]), on: stream)
                try await tell(.finished(FileGlobResult(paths: [], truncated: true)), on: stream)
                try await stream.finish()
            }
            let found = Mutex<[JSONValue]>([])
            var context = world.context(events: { event in
                guard case .found(let items) = event else { return }
                found.withLock { $0 += items }
                hear.yield()
            })
            let whole = try await world.run("fs.glob", Self.glob, context)
            #expect(whole["paths"] == ["a", "b", "c"] && whole["truncated"] == true)
            #expect(found.withLock { $0 } == [["path": "b"], ["path": "a"], ["path": "c"]])
            // A door that shows them does not need them again.
            context.collectsFound = false
            let end = try await world.run("fs.glob", Self.glob, context)
            #expect(end["paths"] == [] && end["truncated"] == true)
            #expect(nodes[0].methods.filter { $0 == .fsGlob }.isEmpty)
        }
    }

    @Test func aListenerThatGoesAwayEndsTheSearchOnTheNode() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let ended = Mutex(0)
            nodes[0].handle(.fsGlobStream) { stream, _ in
                try await tell(.found(["a"]), on: stream)
                do {
                    while try await stream.next() != nil {}
                } catch { ended.withLock { $0 += 1 } }
            }
            let context = world.context(events: { _ in throw FastableError(.cancelled, "The reader is gone.") })
            await expectFailure(.cancelled) { _ = try await world.run("fs.glob", Self.glob, context) }
            try await eventually("the node hears of it") { ended.withLock { $0 } == 1 }

            let (heard, hear) = AsyncStream<Void>.makeStream()
            let waiting = world.context(events: { _ in hear.yield() })
            let search = Task { try await world.run("fs.glob", Self.glob, waiting) }
            for await _ in heard { break }
            search.cancel()
            await expectFailure(.cancelled) { _ = try await search.value }
            try await eventually("the node hears of it") { ended.withLock { $0 } == 2 }
        }
    }

    @Test func aNodeThatTellsWithoutEndIsNotHeardWithoutEnd() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.fsGlobStream) { stream, _ in
                while true { try await tell(.found([String](repeating: "a", count: 1000)), on: stream) }
            }
            await expectFailure(.internal) {
                _ = try await world.run("fs.glob", Self.glob, world.context(events: { _ in }))
            }
        }
    }
}
