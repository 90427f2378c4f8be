import ControllerAPI
import FastableCore
import NIOCore
import NIOPosix
import TestSupport
import Testing

@Suite(.endsInTime) struct VanishedPeerTests {
    @Test func silenceCountsOnlyWhileSomethingIsUnacknowledged() {
        var facts = VanishedPeer.Facts()
        facts.lastAcknowledgementMilliseconds = 600_000
        #expect(!facts.saysVanished, "nothing was sent to it")
        facts.unacknowledged = 1
        #expect(facts.saysVanished)
        facts.lastAcknowledgementMilliseconds = 59_999
        #expect(!facts.saysVanished)
        // It takes nothing and answers no question about it any more.
        facts.unacknowledged = 0
        facts.probes = 8
        #expect(facts.saysVanished)
    }

    /// The layout is the kernel's: a client that does not read is there, whatever waits for it.
    @Test func aClientThatDoesNotReadHasNotVanished() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let server = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0) { channel in
            channel.eventLoop.makeCompletedFuture { channel }
        }
        let port = try #require(server.channel.localAddress?.port)
        let client = try await ClientBootstrap(group: group)
            .channelOption(.autoRead, value: false).channelOption(.socketOption(.so_rcvbuf), value: 4096)
            .connect(host: "127.0.0.1", port: port).get()
        try await server.executeThenClose { clients in
            for try await channel in clients {
                #expect(try await VanishedPeer.facts(of: channel)?.get().state == 1, "established")
                channel.writeAndFlush(ByteBuffer(repeating: 7, count: 8 << 20), promise: nil)
                // Probes come after 200 ms, 400 ms, and so on; each is answered.
                try await Task.sleep(for: .seconds(3))
                let facts = try #require(try await VanishedPeer.facts(of: channel)?.get())
                #expect(!facts.saysVanished && facts.probes <= 1, "\(facts)")
                #expect(facts.lastAcknowledgementMilliseconds < 10_000, "\(facts)")
                try await client.close()
                try? await channel.close()
                break
            }
        }
    }
}
