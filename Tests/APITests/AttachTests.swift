import ControllerAPI
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOWebSocket
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct AttachTests {
    @Test func outputArrivesByteForByteAndTheResultLast() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                try await command.print(ByteBuffer(bytes: [0xff, 0x00, 0xfe]))
                try await command.print("err", channel: 2)
                try await command.tell(.gap(channel: 2, from: 10, to: 25))
                try await command.end(code: nil, stdoutBytes: 8, stderrBytes: 25)
            }
            let client = try await SocketClient.open(server, "?stdout=5&stderr=7")
            #expect(client.answer.status == .switchingProtocols)
            #expect(client.answer.headers["sec-websocket-protocol"] == ["fastable.exec.v1"])
            #expect(client.answer.headers.first(name: "x-request-id") != nil)
            let exec = JSONValue.string(TestBackend.exec.description)
            #expect(
                try await client.nextMessage() == [
                    "started": ["execId": exec, "stdoutOffset": 5, "stderrOffset": 7, "stdinOffset": 0]
                ])
            let stdout = try await client.nextFrame()
            #expect(stdout.type == .data && stdout.channel == 1 && stdout.stream == 1)
            #expect(Array(stdout.payload.readableBytesView) == [0xff, 0x00, 0xfe])
            let stderr = try await client.nextFrame()
            #expect(stderr.channel == 2 && String(buffer: stderr.payload) == "err")
            #expect(try await client.nextMessage() == ["gap": ["stream": "stderr", "from": 10, "to": 25]])
            #expect(
                try await client.nextMessage() == [
                    "result": [
                        "execId": exec, "exitCode": .null, "signal": "SIGKILL", "durationMs": .number(1.5),
                        "timedOut": false,
                        "stdoutBytes": 8, "stderrBytes": 25,
                    ]
                ])
            #expect(try await client.nextClose() == .init(code: 1000, reason: ""))
            #expect(await client.next() == nil, "the server closes when the goodbye was answered")
            #expect(
                server.backend.node.attachments == [
                    .init(start: .at(ExecOffsets(stdout: 5, stderr: 7)), input: nil, only: nil)
                ])
        }
    }

    @Test func inputEndResizeAndSignalsReachTheCommand() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                while let event = try await command.stream.next() {
                    switch event {
                    case .data(let channel, let bytes): try await command.print("\(channel):\(String(buffer: bytes))\n")
                    case .message(let payload):
                        let control = try JSON.decode(ExecControl.self, from: Data(payload.readableBytesView))
                        try await command.print("\(control)\n")
                    case .end: try await command.print("end\n")
                    }
                }
                try await command.end()
            }
            let client = try await SocketClient.open(server, "?stdin=12")
            _ = try await client.nextMessage()
            try await client.write("hello")
            #expect(String(buffer: try await client.read(8)) == "0:hello\n")
            try await client.tell(#"{"resize":{"rows":40,"columns":132}}"#)
            let resized = "\(ExecControl.resize(TerminalSize(rows: 40, columns: 132)))\n"
            #expect(String(buffer: try await client.read(resized.utf8.count)) == resized)
            try await client.tell(#"{"signal":"SIGINT"}"#)
            let signalled = "\(ExecControl.signal(2))\n"
            #expect(String(buffer: try await client.read(signalled.utf8.count)) == signalled)
            try await client.send(.end(at: 17))
            let ended = "\(ExecControl.endInput(at: 17))\n"
            #expect(String(buffer: try await client.read(ended.utf8.count)) == ended)
            // Whoever resizes a window does not know that the input has ended.
            try await client.tell(#"{"resize":{"rows":41,"columns":132}}"#)
            #expect(String(buffer: try await client.read(4)) == "end\n")
            #expect(try await client.nextMessage()["result"]?["exitCode"] == 0)
            #expect(server.backend.node.attachments.map(\.input) == [.at(12)])
        }
    }

    /// Where no input can be sent, a signal goes as an operation of its own.
    @Test(arguments: ["", "?stdin=append"]) func signalsReachTheCommandWithoutInput(query: String) async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
            }
            let client = try await SocketClient.open(server, query)
            _ = try await client.nextMessage()
            if !query.isEmpty { try await client.send(.endOfInput) }
            try await client.tell(#"{"signal":"SIGINT"}"#)
            #expect(await server.backend.probe.saw("kill SIGINT"))
        }
    }

    /// A command echoes; its follower vanishes and another one goes on where the first one was.
    @Test func aFollowerThatVanishesIsReplacedByOneAtItsOffset() async throws {
        try await withServer { server in
            let text = "0123456789"
            server.backend.node.onAttach { command in
                try await command.start()
                let offset = Int(command.wanted.offsets.stdout)
                try await command.print(String(text.dropFirst(offset).prefix(5)))
                if offset > 0 { return try await command.end() }
                await command.waitForReset()
                server.backend.probe.note("gone")
            }
            let first = try await SocketClient.open(server)
            #expect(String(buffer: try await first.read(5)) == "01234")
            try await first.vanish()
            #expect(await server.backend.probe.saw("gone"))
            let second = try await SocketClient.open(server, "?stdout=5")
            #expect(String(buffer: try await second.read(5)) == "56789")
            #expect(try await second.nextMessage()["result"] != nil)
        }
    }

    @Test func whatWasWrittenBeforeTheGoodbyeArrives() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                var count: UInt64 = 0
                do {
                    while case .data(_, let bytes)? = try await command.stream.next() {
                        count += UInt64(bytes.readableBytes)
                        try await command.tell(.inputPassed(upTo: count))
                    }
                } catch {
                    server.backend.probe.note("read \(count)")
                }
            }
            let client = try await SocketClient.open(server, "?stdin=append")
            for _ in 0..<8 { try await client.sendBulk(.stdin(ByteBuffer(repeating: 7, count: 100_000))) }
            try await client.leave()
            #expect(try await client.nextClose().code == 1000, "the goodbye is answered")
            #expect(await client.next() == nil)
            #expect(await server.backend.probe.saw("read 800000"))
        }
    }

    @Test func aLostLinkIsToldWithTheNextStep() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                await command.waitForReset()
            }
            let client = try await SocketClient.open(server)
            _ = try await client.nextMessage()
            server.backend.node.sever()
            #expect(try await client.nextMessage()["error"]?["code"] == "unavailable")
            #expect(try await client.nextClose().code == 1000)
        }
    }

    @Test func pingsAreAnsweredAndFragmentsJoined() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                if case .data(_, let bytes)? = try await command.stream.next() { try await command.print(bytes) }
                try await command.end()
            }
            let client = try await SocketClient.open(server, "?stdin=append")
            _ = try await client.nextMessage()
            var whole = FrameCodec.encode(.stdin(ByteBuffer(string: "in three pieces")))
            try await client.send(.binary, try #require(whole.readSlice(length: 5)), fin: false)
            try await client.send(.ping, ByteBuffer(string: "between"))
            try await client.send(.continuation, try #require(whole.readSlice(length: 9)), fin: false)
            try await client.send(.continuation, whole)
            #expect(await client.next() == .pong(ByteBuffer(string: "between")))
            #expect(String(buffer: try await client.read(15)) == "in three pieces")
        }
    }
}

@Suite(.serialized, .endsInTime) struct AttachPressureTests {
    /// The flood of one attachment stops while its client does not read; another client's goes on.
    @Test func aClientThatDoesNotReadStopsItsOwnAttachmentOnly() async throws {
        try await withServer { server in
            let total = 24 * 1024 * 1024
            let printed = Mutex<[UInt64: Int]>([:])
            // Until the client has stopped reading it would take whatever comes.
            let (paused, go) = AsyncStream<Void>.makeStream()
            server.backend.node.onAttach { command in
                let key = command.wanted.offsets.stdout
                try await command.start()
                if key == 1 { for await _ in paused { break } }
                let piece = ByteBuffer(repeating: UInt8(key), count: 64 * 1024)
                for _ in 0..<(total / piece.readableBytes) {
                    try await command.print(piece)
                    printed.withLock { $0[key, default: 0] += piece.readableBytes }
                }
                try await command.end()
            }
            let slow = try await SocketClient.open(server, "?stdout=1")
            try await slow.pauseReading()
            go.yield()
            let quick = try await SocketClient.open(server, "?stdout=2")
            #expect(try await quick.read(total).readableBytes == total)
            #expect(try await quick.nextMessage()["result"] != nil)
            let stopped = printed.withLock { $0[1] ?? 0 }
            #expect(stopped < total * 2 / 3, "\(stopped) bytes went to a client that does not read")
            try await slow.resumeReading()
            #expect(try await slow.read(total).readableBytes == total)
            #expect(try await slow.nextMessage()["result"] != nil)
        }
    }

    @Test func aCommandThatDoesNotReadStopsTheSocket() async throws {
        try await withServer { server in
            // More than the sockets' own buffers take.
            let total = 64 * 1024 * 1024
            let (gate, open) = AsyncStream<Void>.makeStream()
            server.backend.node.onAttach { command in
                try await command.start()
                for await _ in gate { break }
                var count = 0
                while case .data(_, let bytes)? = try await command.stream.next() { count += bytes.readableBytes }
                try await command.print("\(count)")
                try await command.end()
            }
            let client = try await SocketClient.open(server, "?stdin=append")
            _ = try await client.nextMessage()
            let sent = Mutex(0)
            let sender = Task {
                let piece = ByteBuffer(repeating: 9, count: 128 * 1024)
                for _ in 0..<(total / piece.readableBytes) {
                    try await client.sendBulk(.stdin(piece))
                    sent.withLock { $0 += piece.readableBytes }
                }
                try await client.send(.endOfInput)
            }
            // It stops when nothing more is taken for a while: buffers of the sockets, the queue and the stream are full then.
            var last = -1
            while sent.withLock({ $0 }) != last {
                last = sent.withLock { $0 }
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(last < total * 3 / 4, "\(last) bytes were taken for a command that does not read")
            open.yield()
            try await sender.value
            #expect(String(buffer: try await client.read(8)) == "\(total)")
        }
    }

    @Test func aClientThatVanishesWhileTheCommandDoesNotReadIsNoticed() async throws {
        try await withServer { server in
            server.backend.node.onAttach { command in
                try await command.start()
                // Prints until its follower has gone, and reads nothing.
                do {
                    while true {
                        try await Task.sleep(for: .milliseconds(10))
                        try await command.print(".")
                    }
                } catch {
                    server.backend.probe.note("gone")
                }
            }
            let client = try await SocketClient.open(server, "?stdin=append")
            _ = try await client.nextMessage()
            let sender = Task {
                while true { try await client.sendBulk(.stdin(ByteBuffer(repeating: 1, count: 65_536))) }
            }
            try await Task.sleep(for: .milliseconds(300))
            try await client.vanish()
            #expect(await server.backend.probe.saw("gone"))
            await #expect(throws: (any Error).self) { try await sender.value }
        }
    }
}
