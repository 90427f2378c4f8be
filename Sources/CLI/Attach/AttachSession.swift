import Dispatch
import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOWebSocket

/// Follows a command to its end, over as many connections as it takes: output goes on at the byte where it stopped, and input
/// that may not have arrived is sent again.
final class AttachSession: Sendable {
    struct Options {
        /// Sends what comes on standard input.
        var sendsInput = false
        /// Nobody has written to the command yet; otherwise its input goes on behind what others wrote.
        var isFirstWriter = false
        /// This program's terminal stands for the command's.
        var usesTerminal = false
    }

    private let client: Client
    private let exec: String
    private let options: Options
    private let log: InputLog
    /// So that a new connection takes the place of the last one, also before that is noticed to be lost.
    private let name = UUID().uuidString.lowercased()

    init(client: Client, exec: String, options: Options) {
        self.client = client
        self.exec = exec
        self.options = options
        log = InputLog(isFirstWriter: options.isFirstWriter)
    }

    /// The command's exit status. The terminal is as before when this returns or throws.
    func run() async throws -> Int32 {
        if options.usesTerminal { TerminalMode.makeRaw() }
        defer { TerminalMode.restore() }
        let sources = listen()
        defer { for source in sources { source.cancel() } }
        if options.sendsInput { readInput() }
        var progress = Progress()
        var reattachment = Reattachment()
        while true {
            progress.isAttached = false
            let began = ContinuousClock.now
            do {
                return try await converse(&progress)
            } catch let error as FastableError {
                let now = ContinuousClock.now
                let pause = reattachment.pause(
                    after: error.code, attachedFor: progress.isAttached ? now - began : nil, now: now)
                guard let pause else { throw error }
                try await Task.sleep(for: pause)
            }
        }
    }

    private struct Progress {
        /// How far the output has been shown.
        var stdout: UInt64 = 0
        var stderr: UInt64 = 0
        /// The present connection, or the last one, reached the command.
        var isAttached = false
    }

    private func converse(_ progress: inout Progress) async throws -> Int32 {
        var path = "/api/execs/\(exec)/attach?stdout=\(progress.stdout)&stderr=\(progress.stderr)&follower=\(name)"
        if options.sendsInput { path += "&stdin=\(log.offset.map(String.init) ?? "append")" }
        let socket = try await AttachSocket.connect(client, path: path)
        let news = log.connect()
        defer { log.disconnect() }
        var seen = progress
        defer { progress = seen }
        do {
            return try await socket.channel.executeThenClose { inbound, outbound in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await self.tell(news, outbound) }
                    defer { group.cancelAll() }
                    return try await self.show(inbound, outbound, &seen)
                }
            }
        } catch let error as FastableError {
            throw error
        } catch {
            throw Reattachment.lost
        }
    }

    private func tell(_ news: AsyncStream<Void>, _ outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>) async throws
    {
        for await _ in news {
            while let item = log.next() {
                switch item {
                case .bytes(let bytes):
                    let frame = Frame(type: .data, channel: 0, stream: 1, payload: ByteBuffer(data: bytes))
                    try await outbound.write(.message(frame))
                case .end(let offset):
                    let payload = offset.map { ByteBuffer(integer: $0) } ?? ByteBuffer()
                    try await outbound.write(.message(Frame(type: .end, channel: 0, stream: 1, payload: payload)))
                case .control(let value): try await outbound.write(try .control(value))
                }
            }
        }
    }

    private func show(
        _ inbound: NIOAsyncChannelInboundStream<WebSocketFrame>,
        _ outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>, _ progress: inout Progress
    ) async throws -> Int32 {
        var decoder = FrameStreamDecoder()
        for try await message in inbound {
            switch message.opcode {
            case .ping:
                try await outbound.write(
                    WebSocketFrame(fin: true, opcode: .pong, maskKey: .random(), data: message.unmaskedData))
                continue
            case .connectionClose:
                var reason = message.unmaskedData
                let code = reason.readInteger(as: UInt16.self)
                throw Reattachment.failure(closeCode: code, reason: String(buffer: reason))
            case .binary, .continuation: decoder.append(message.unmaskedData)
            default: continue
            }
            while let frame = try decoder.next() {
                if let status = try show(frame, &progress) { return status }
            }
        }
        throw Reattachment.lost
    }

    /// The exit status, once it is told.
    private func show(_ frame: Frame, _ progress: inout Progress) throws -> Int32? {
        switch (frame.type, frame.channel) {
        case (.data, 2):
            try Output.bytes(Data(buffer: frame.payload), to: STDERR_FILENO)
            progress.stderr += UInt64(frame.payload.readableBytes)
        case (.data, _):
            try Output.bytes(Data(buffer: frame.payload))
            progress.stdout += UInt64(frame.payload.readableBytes)
        case (.message, _):
            let message = try JSON.decode(Message.self, from: Data(buffer: frame.payload))
            if let started = message.started {
                log.began(at: started.stdinOffset)
                progress.isAttached = true
            }
            if let passed = message.stdin?.passed { log.passed(upTo: passed) }
            if let gap = message.gap {
                gap.tell()
                if gap.stream == "stderr" { progress.stderr = gap.to } else { progress.stdout = gap.to }
            }
            if let error = message.error { throw error }
            return message.result?.exitStatus
        default: break
        }
        return nil
    }

    private struct Message: Decodable {
        struct Passed: Decodable { var passed: UInt64 }
        struct Started: Decodable { var stdinOffset: UInt64 }

        var started: Started?
        var stdin: Passed?
        var gap: OutputGap?
        var result: ExecAnswer?
        var error: FastableError?
    }
}

extension AttachSession {
    /// Reads standard input on a thread of its own: nothing else can wait for a file.
    private func readInput() {
        Thread.detachNewThread { [log, options] in
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            while true {
                let count = read(STDIN_FILENO, &buffer, buffer.count)
                if count < 0 {
                    Self.waitForInput(after: errno)
                    continue
                }
                guard count > 0 else { return log.finish() }
                let bytes = buffer.prefix(count)
                if options.usesTerminal, !log.isConnected, bytes.contains(3) {
                    // Without a connection Ctrl-C reaches nobody but this program.
                    TerminalMode.restore()
                    Output.error("The connection to the controller was lost; the command goes on.")
                    _exit(125)
                }
                log.append(Data(bytes))
            }
        }
    }

    /// An error is no end: a command that took it for one would go on with a part of its input.
    private static func waitForInput(after error: Int32) {
        switch error {
        case EINTR: return
        case EAGAIN:
            var file = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            poll(&file, 1, -1)
        default:
            TerminalMode.restore()
            Output.error(
                "Standard input cannot be read: \(String(cString: strerror(error))). The command goes on and waits for more of it."
            )
            _exit(125)
        }
    }

    /// A new size of the terminal, Ctrl-C, and the wish that this program end.
    private func listen() -> [any DispatchSourceSignal] {
        var sources: [any DispatchSourceSignal] = []
        func on(_ number: Int32, _ action: @escaping @Sendable () -> Void) {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: action)
            source.resume()
            sources.append(source)
        }
        if options.usesTerminal {
            on(SIGWINCH) { [log] in
                guard let size = TerminalMode.size else { return }
                log.ask(["resize": ["rows": .integer(Int64(size.rows)), "columns": .integer(Int64(size.columns))]])
            }
        }
        on(SIGINT) { [log] in log.ask(["signal": "SIGINT"]) }
        for number in [SIGTERM, SIGHUP] {
            on(number) {
                TerminalMode.restore()
                _exit(128 + number)
            }
        }
        return sources
    }
}
