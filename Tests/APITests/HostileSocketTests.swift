import AsyncHTTPClient
import ControllerAPI
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOWebSocket
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@Suite(.serialized, .endsInTime) struct HostileSocketTests {
    struct Attack: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var code: Int
        var query = "?stdin=append"
        var send: @Sendable (SocketClient) async throws -> Void

        static func frame(_ name: String, _ code: Int, _ frame: Frame, query: String = "?stdin=append") -> Attack {
            Attack(testDescription: name, code: code, query: query) { try await $0.send(frame) }
        }

        static func bytes(_ name: String, _ bytes: [UInt8]) -> Attack {
            Attack(testDescription: name, code: 1002) { try await $0.send(.binary, ByteBuffer(bytes: bytes)) }
        }

        static func message(_ text: String) -> Attack {
            Attack(testDescription: text, code: 1008) { try await $0.tell(text) }
        }
    }

    private static let stdin = FrameCodec.encode(.stdin(ByteBuffer(string: "x")))

    static let attacks: [Attack] = [
        Attack(testDescription: "no mask", code: 1002) { try await $0.send(.binary, stdin, masked: false) },
        Attack(testDescription: "reserved bit", code: 1002) {
            try await $0.send(
                WebSocketFrame(fin: true, rsv1: true, opcode: .binary, maskKey: .random(), data: stdin))
        },
        Attack(testDescription: "reserved opcode", code: 1002) {
            try await $0.send(try #require(WebSocketOpcode(encodedWebSocketOpcode: 5)), stdin)
        },
        Attack(testDescription: "text", code: 1003) { try await $0.send(.text, ByteBuffer(string: "hello")) },
        Attack(testDescription: "continuation of nothing", code: 1002) { try await $0.send(.continuation, stdin) },
        Attack(testDescription: "a message within a message", code: 1002) {
            try await $0.send(.binary, stdin, fin: false)
            try await $0.send(.binary, stdin)
        },
        Attack(testDescription: "a fragmented ping", code: 1002) {
            try await $0.send(.ping, ByteBuffer(string: "x"), fin: false)
        },
        Attack(testDescription: "a long ping", code: 1002) {
            try await $0.send(.ping, ByteBuffer(repeating: 0, count: 126))
        },
        Attack(testDescription: "half a close code", code: 1002) {
            try await $0.send(.connectionClose, ByteBuffer(bytes: [3]))
        },
        Attack(testDescription: "a close code that is never sent", code: 1002) {
            try await $0.send(.connectionClose, ByteBuffer(bytes: [3, 0xed]))
        },
        Attack(testDescription: "a frame that is too large", code: 1009) {
            try await $0.send(.binary, ByteBuffer(repeating: 0, count: Limits.framePayloadBytes + 13))
        },
        Attack(testDescription: "fragments that are too large together", code: 1009) {
            for index in 0..<5 {
                let opcode = index == 0 ? WebSocketOpcode.binary : .continuation
                try await $0.send(opcode, ByteBuffer(repeating: 0, count: 60_000), fin: false)
            }
        },
        Attack(testDescription: "empty fragments without end", code: 1008) {
            try await $0.send(.binary, ByteBuffer(), fin: false)
            for _ in 0..<Limits.socketMessageFragments { try await $0.send(.continuation, ByteBuffer(), fin: false) }
        },
        .bytes("an empty message", []), .bytes("less than a header", [1, 3, 0, 0, 0, 0, 0]),
        .bytes("an unknown version", [9, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        .bytes("a length that is not there", [1, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]),
        .bytes("a huge length", [1, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        .bytes("two frames", Array(stdin.readableBytesView) + Array(stdin.readableBytesView)),
        .frame("another stream", 1002, Frame(type: .data, stream: 3, payload: ByteBuffer(string: "x"))),
        .frame("a flag", 1002, Frame(type: .data, flags: 1, stream: 1, payload: ByteBuffer(string: "x"))),
        .frame("stdout from the client", 1008, Frame(type: .data, channel: 1, stream: 1)),
        .frame("the end of stdout", 1008, Frame(type: .end, channel: 1, stream: 1)),
        .frame("a reset", 1008, Frame(type: .reset, stream: 1)),
        .frame("credit", 1008, Frame(type: .window, stream: 1, payload: ByteBuffer(bytes: [0, 0, 1, 0]))),
        .frame("an unknown type", 1008, Frame(type: FrameType(rawValue: 200), stream: 1)),
        .message(""), .message("{}"), .message("nonsense"), .message(#"{"signal":"SIGSEGV"}"#),
        .message(#"{"signal":9}"#), .message(#"{"resize":{"rows":0,"columns":80}}"#),
        .message(#"{"resize":{"rows":70000,"columns":80}}"#), .message(#"{"resize":{"rows":24}}"#),
        .message(#"{"resize":{"rows":24,"columns":80,"depth":3}}"#),
        .message(#"{"signal":"SIGINT","resize":{"rows":24,"columns":80}}"#), .message(#"{"finished":{}}"#),
        .message(String(repeating: "[", count: 100_000)),
        Attack(testDescription: "input behind its end", code: 1008) {
            try await $0.send(.endOfInput)
            try await $0.write("more")
        },
        .frame(
            "half an offset of an end", 1002, Frame(type: .end, stream: 1, payload: ByteBuffer(repeating: 0, count: 4))),
        .frame("input of a reader", 1008, .stdin(ByteBuffer(string: "x")), query: ""),
        .frame("the end of a reader's input", 1008, .endOfInput, query: ""),
        .frame(
            "a reader's size", 1008,
            Frame(type: .message, stream: 1, payload: ByteBuffer(string: #"{"resize":{"rows":24,"columns":80}}"#)),
            query: ""),
    ]

    @Test(arguments: attacks) func hostileFramesEndTheirOwnSocket(attack: Attack) async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
                server.backend.probe.note("gone")
            }
            let client = try await SocketClient.open(server, attack.query)
            _ = try await client.nextMessage()
            try await attack.send(client)
            let closed = try await client.nextClose()
            #expect(closed.code == attack.code && !closed.reason.isEmpty, "\(closed)")
            while await client.next() != nil {}
            #expect(await server.backend.probe.saw("gone"), "the attachment ends with its socket")
            #expect(try await server.get("/health").status == 200)
        }
    }

    @Test(arguments: seeds()) func noiseEndsTheSocketAndNothingElse(seed: UInt64) async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
            }
            var generator = SeededGenerator(seed: seed)
            for _ in 0..<20 {
                let client = try await SocketClient.open(server, "?stdin=append")
                let noise = (0..<Int.random(in: 1...3000, using: &generator)).map { _ in
                    UInt8.random(in: .min ... .max, using: &generator)
                }
                // Below the WebSocket: what comes is not even a frame, mostly.
                try await client.sendRaw(ByteBuffer(bytes: noise))
                try? await client.vanish()
            }
            #expect(try await server.get("/health").status == 200)
        }
    }

    /// Pongs of a client that asks and never reads must not pile up.
    @Test func aFloodOfPingsIsAnsweredOnceInAWhile() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
            }
            let client = try await SocketClient.open(server)
            _ = try await client.nextMessage()
            for _ in 0..<20_000 { client.channel.write(client.frame(.ping, ByteBuffer(string: "x")), promise: nil) }
            try await client.send(.ping, ByteBuffer(string: "last"))
            var pongs = 0
            while let received = await client.next() {
                pongs += 1
                if received == .pong(ByteBuffer(string: "last")) { break }
            }
            #expect(pongs < 10_000, "\(pongs)")
        }
    }
}

@Suite(.endsInTime) struct SocketLifeTests {
    @Test func aSilentClientIsPingedAndThenClosed() async throws {
        var configuration = TestServer.configuration()
        configuration.sockets.pingInterval = .seconds(1)
        configuration.sockets.silence = .seconds(8)
        try await withServer(configuration) { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
                server.backend.probe.note("gone")
            }
            let client = try await SocketClient.open(server)
            _ = try await client.nextMessage()
            // An answer to each ping keeps it open for longer than the silence that is borne.
            var lastHeard = ContinuousClock.now
            let end = lastHeard + .seconds(9)
            while lastHeard < end {
                #expect(await client.next() == .ping(ByteBuffer()))
                lastHeard = .now
                try await client.send(.pong, ByteBuffer())
            }
            let closed = try await client.nextClose()
            #expect(closed.code == 1001 && ContinuousClock.now - lastHeard > .seconds(7))
            #expect(await server.backend.probe.saw("gone"))
        }
    }

    /// A connection that never says what it wants, or says goodbye and never hangs up, does not stay.
    @Test func aClientThatNeverAnswersTheGoodbyeIsHungUpOn() async throws {
        var configuration = TestServer.configuration()
        configuration.sockets.closeTime = .milliseconds(200)
        try await withServer(configuration) { server in
            let client = try await SocketClient.open(server)
            while let received = await client.next() {
                if case .close(let code, _) = received { #expect(code == 1000) }
            }
        }
    }

    @Test(.endsInTime) func shutdownSaysGoodbye() async throws {
        let backend = TestBackend()
        let (addresses, continuation) = AsyncStream<SocketAddress>.makeStream()
        var configuration = TestServer.configuration()
        configuration.sockets.closeTime = .seconds(3600)
        let server = try APIServer(configuration, backend: backend, logger: .quiet) {
            continuation.yield($0)
        }
        backend.node.onAttach { command in
            try await command.start()
            await command.waitForReset()
            backend.probe.note("gone")
        }
        let group = ServiceGroup(services: [server], logger: .quiet)
        let running = Task { try await group.run() }
        var iterator = addresses.makeAsyncIterator()
        let address = await iterator.next()
        let port = try #require(address?.port)
        let test = TestServer(backend: backend, client: .shared, url: "http://127.0.0.1:\(port)", port: port)
        let polite = try await SocketClient.open(test)
        let rude = try await SocketClient.open(test, "?stdin=append")
        _ = try await polite.nextMessage()
        _ = try await rude.nextMessage()
        await group.triggerGracefulShutdown()
        #expect(try await polite.nextClose().code == 1001)
        // The other one never answers. Now it gets less time for that than usual, which is more than the test has.
        try await running.value
        #expect(await backend.probe.saw("gone"))
        await backend.node.close()
    }
}
