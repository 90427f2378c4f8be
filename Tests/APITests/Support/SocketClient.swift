import ControllerAPI
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket
import Testing

/// A WebSocket client that sends exactly what the test says.
struct SocketClient: Sendable {
    enum Received: Sendable, Equatable {
        case frame(Frame)
        case text(String)
        case ping(ByteBuffer)
        case pong(ByteBuffer)
        case close(Int, String)
    }

    struct Refused: Error {}

    let channel: any Channel
    let answer: HTTPResponseHead
    private let received: Inbox

    // MARK: opening

    static func open(
        _ server: TestServer, _ query: String = "", exec: ExecID = TestBackend.exec, subprotocols: [String]? = nil,
        headers: HTTPHeaders = ["authorization": "Bearer \(TestBackend.token)"], tls: TLSConfiguration? = nil
    ) async throws -> SocketClient {
        let context = try tls.map { try NIOSSLContext(configuration: $0) }
        var head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: "/api/execs/\(exec)/attach\(query)", headers: headers)
        head.headers.add(name: "host", value: "127.0.0.1")
        head.headers.add(
            name: "sec-websocket-protocol", value: (subprotocols ?? ["fastable.exec.v1"]).joined(separator: ", "))
        let request = head
        let upgraded = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // Small, so that what a peer does not read is soon noticed.
            .channelOption(.socketOption(.so_rcvbuf), value: 128 * 1024)
            .channelOption(.socketOption(.so_sndbuf), value: 128 * 1024)
            .connect(host: "127.0.0.1", port: server.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let context {
                        try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
                    }
                    return try pipeline.configureUpgradableHTTPClientPipeline(configuration: upgrade(request))
                }
            }
        return try await upgraded.get()
    }

    private static func upgrade(
        _ request: HTTPRequestHead
    ) -> NIOUpgradableHTTPClientPipelineConfiguration<SocketClient> {
        let upgrader = NIOTypedWebSocketClientUpgrader<SocketClient>(maxFrameSize: 1 << 20) { channel, answer in
            channel.eventLoop.makeCompletedFuture {
                let inbox = Inbox()
                try channel.pipeline.syncOperations.addHandler(InboxHandler(inbox))
                return SocketClient(channel: channel, answer: answer, received: inbox)
            }
        }
        var configuration = NIOUpgradableHTTPClientPipelineConfiguration(
            upgradeConfiguration: NIOTypedHTTPClientUpgradeConfiguration(
                upgradeRequestHead: request, upgraders: [upgrader],
                notUpgradingCompletionHandler: { $0.eventLoop.makeFailedFuture(Refused()) }))
        // The first messages may come together with the answer.
        configuration.leftOverBytesStrategy = .forwardBytes
        return configuration
    }

    // MARK: sending

    func send(_ frame: Frame) async throws { try await send(.binary, FrameCodec.encode(frame)) }

    /// Without the work of masking: the key is zero.
    func sendBulk(_ frame: Frame) async throws {
        var bytes = ByteBuffer()
        let payload = FrameCodec.encode(frame)
        WebSocketFraming.writeHeader(.binary, payloadBytes: payload.readableBytes, masked: true, into: &bytes)
        bytes.writeImmutableBuffer(payload)
        try await sendRaw(bytes)
    }

    func write(_ text: String) async throws { try await send(.stdin(ByteBuffer(string: text))) }

    func tell(_ message: String) async throws {
        try await send(Frame(type: .message, stream: 1, payload: ByteBuffer(string: message)))
    }

    func send(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, fin: Bool = true, masked: Bool = true) async throws {
        try await send(frame(opcode, payload, fin: fin, masked: masked))
    }

    func frame(
        _ opcode: WebSocketOpcode, _ payload: ByteBuffer, fin: Bool = true, masked: Bool = true
    ) -> WebSocketFrame {
        WebSocketFrame(fin: fin, opcode: opcode, maskKey: masked ? .random() : nil, data: payload)
    }

    /// Bytes that need not be a frame.
    func sendRaw(_ bytes: ByteBuffer) async throws {
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.context(handlerType: WebSocketFrameEncoder.self).writeAndFlush(
                NIOAny(bytes))
        }.get().get()
    }

    func send(_ frame: WebSocketFrame) async throws { try await channel.writeAndFlush(frame) }

    /// Says goodbye without waiting for the answer.
    func leave(_ code: WebSocketErrorCode = .normalClosure) async throws {
        var payload = ByteBuffer()
        payload.write(webSocketErrorCode: code)
        try await send(.connectionClose, payload)
    }

    /// Goes without a word, as a crash does.
    func vanish() async throws { try await channel.close() }

    // MARK: receiving

    func pauseReading() async throws { try await channel.setOption(.autoRead, value: false).get() }

    func resumeReading() async throws {
        try await channel.setOption(.autoRead, value: true).get()
        channel.read()
    }

    /// `nil` when the connection has ended.
    func next() async -> Received? { await received.next() }

    func nextFrame() async throws -> Frame {
        while let received = await next() {
            if case .frame(let frame) = received { return frame }
            if case .close(let code, let reason) = received { throw Closed(code: code, reason: reason) }
        }
        throw Closed(code: 1006, reason: "")
    }

    struct Closed: Error, Equatable {
        var code: Int
        var reason: String
    }

    /// The next message as JSON; data before it is an issue.
    func nextMessage() async throws -> JSONValue {
        let frame = try await nextFrame()
        #expect(frame.type == .message && frame.stream == 1)
        return try JSONParser.parse(Data(frame.payload.readableBytesView))
    }

    /// How the server says goodbye; what comes before is skipped. Answers it.
    func nextClose() async throws -> Closed {
        while let received = await next() {
            guard case .close(let code, let reason) = received else { continue }
            try? await leave(WebSocketErrorCode(codeNumber: code))
            return Closed(code: code, reason: reason)
        }
        return Closed(code: 1006, reason: "")
    }

    /// Data of a channel until there are so many bytes.
    func read(_ count: Int, channel: UInt8 = 1) async throws -> ByteBuffer {
        var bytes = ByteBuffer()
        while bytes.readableBytes < count {
            let frame = try await nextFrame()
            guard frame.type == .data, frame.channel == channel else { continue }
            bytes.writeImmutableBuffer(frame.payload)
        }
        return bytes
    }
}

extension Frame {
    static func stdin(_ bytes: ByteBuffer) -> Frame { Frame(type: .data, stream: 1, payload: bytes) }
    static let endOfInput = Frame(type: .end, stream: 1)
    static func end(at offset: UInt64) -> Frame {
        Frame(type: .end, stream: 1, payload: ByteBuffer(integer: offset))
    }
}

/// What has come and was not looked at yet.
private final class Inbox: Sendable {
    let stream: AsyncStream<SocketClient.Received>
    let continuation: AsyncStream<SocketClient.Received>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func next() async -> SocketClient.Received? {
        for await received in stream { return received }
        return nil
    }
}

private final class InboxHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame

    private let inbox: Inbox

    init(_ inbox: Inbox) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        #expect(frame.maskKey == nil && frame.fin && frame.reservedBits.isEmpty)
        switch frame.opcode {
        case .binary:
            do {
                inbox.continuation.yield(.frame(try FrameCodec.decode(message: frame.data)))
            } catch {
                Issue.record("no frame of the link: \(error)")
            }
        case .text: inbox.continuation.yield(.text(String(buffer: frame.data)))
        case .ping: inbox.continuation.yield(.ping(frame.data))
        case .pong: inbox.continuation.yield(.pong(frame.data))
        case .connectionClose:
            var payload = frame.data
            let code = Int(payload.readInteger(as: UInt16.self) ?? 1005)
            inbox.continuation.yield(.close(code, String(buffer: payload)))
        default: Issue.record("an unknown opcode")
        }
    }

    /// The connection may have ended before this handler was there.
    func handlerAdded(context: ChannelHandlerContext) {
        let inbox = inbox
        context.channel.closeFuture.whenComplete { _ in inbox.continuation.finish() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
