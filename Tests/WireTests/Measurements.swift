import FastableCore
import FastableWire
import NIOCore
import TestSupport
import Testing

/// Run by hand: `FASTABLE_MEASURE=1 swift test -c release --filter Measurements`.
@Suite(.serialized, .measuresOnDemand)
struct Measurements {
    private static let bytes = 500 << 20

    @Test(arguments: [true, false])
    func streamingThroughTLS(upwards: Bool) async throws {
        let source: @Sendable (MuxStream) async -> Void = { stream in
            let chunk = pattern(65_536)
            for _ in 0..<(Self.bytes / 65_536) { try? await stream.send(data: chunk, channel: 1) }
            try? await stream.finish()
            _ = try? await stream.next()
        }
        try await LinkWorld.run(onLink: { connection, _ in
            async let running: Void = connection.run(accept: source)
            if upwards, let stream = try? await connection.open(text("up")) {
                await Self.drain(stream, "node to controller")
            }
            if upwards { connection.close(reason: "done") }
            try? await running
        }) { world in
            let link = try await world.dial(try world.identity())
            async let running: Void = link.run(accept: source)
            if upwards {
                try? await running
                return
            }
            await Self.drain(try await link.open(text("down")), "controller to node")
            link.close(reason: "done")
            try? await running
        }
    }

    @Test func roundTrips() async throws {
        try await LinkWorld.run { world in
            let link = try await world.dial(try world.identity())
            async let running: Void = link.run(accept: { _ in })
            try await measure("open, send, answer") {
                let stream = try await link.open(text("{}"))
                try await stream.send(message: text("hello"))
                _ = try await stream.next()
            }
            link.close(reason: "done")
            try? await running
        }
    }

    private static func drain(_ stream: MuxStream, _ what: String) async {
        let start = ContinuousClock.now
        var count = 0
        do {
            while let event = try await stream.next() {
                guard case .data(_, let bytes) = event else { break }
                count += bytes.readableBytes
            }
        } catch {
            Issue.record(error)
        }
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        let time = Double(seconds) + Double(attoseconds) / 1e18
        print("\(what): \(count) bytes in \(time) s, \(Int(Double(count) / time / 1e6)) MB/s")
        #expect(count == bytes)
    }
}
