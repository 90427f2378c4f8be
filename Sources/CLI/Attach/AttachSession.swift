import Dispatch
import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOWebSocket
import Synchronization

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
        /// Somebody else listens for Ctrl-C, and calls `interrupted`: two sources of one signal do not get along.
        var isToldInterrupts = false
        /// What the end of this program means for the command.
        var parting = Parting.goesOn
        /// Where the output begins that has not been shown yet.
        var stdoutOffset: UInt64 = 0
        var stderrOffset: UInt64 = 0
        /// Only so many bytes of what each stream has when the first connection is made.
        var tailBytes: UInt64?
    }

    private let client: Client
    private let exec: String
    private let options: Options
    private let log: InputLog
    private let counter = Mutex(InterruptCounter())
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
        let outcome: Result<Int32, any Error>
        do { outcome = .success(try await follow()) } catch { outcome = .failure(error) }
        await Parting.finish()
        return try outcome.get()
    }

    private func follow() async throws -> Int32 {
        if options.usesTerminal { TerminalMode.makeRaw() }
        defer { TerminalMode.restore() }
        let sources = listen()
        defer { for source in sources { source.cancel() } }
        if options.sendsInput { readInput() }
        var progress = Progress(
            stdout: options.stdoutOffset, stderr: options.stderrOffset, tailBytes: options.tailBytes)
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
                guard let pause else {
                    // The terminal is gone, and with it the reason to go on.
                    if options.usesTerminal, !TerminalMode.isTerminal { await leaveNow(128 + SIGHUP) }
                    throw error
                }
                try await Task.sleep(for: pause)
            }
        }
    }

    private struct Progress {
        /// How far the output has been shown.
        var stdout: UInt64
        var stderr: UInt64
        /// Where to begin is left to the first connection.
        var tailBytes: UInt64?
        /// The present connection, or the last one, reached the command.
        var isAttached = false
    }

    private func converse(_ progress: inout Progress) async throws -> Int32 {
        let start =
            progress.tailBytes.map { "tail=\($0)" } ?? "stdout=\(progress.stdout)&stderr=\(progress.stderr)"
        var path = "/api/execs/\(exec)/attach?\(start)&follower=\(name)"
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
                if let status = try await show(frame, &progress) { return status }
            }
        }
        throw Reattachment.lost
    }

    /// The exit status, once it is told.
    private func show(_ frame: Frame, _ progress: inout Progress) async throws -> Int32? {
        switch (frame.type, frame.channel) {
        case (.data, 2):
            try await write(frame.payload, to: STDERR_FILENO)
            progress.stderr += UInt64(frame.payload.readableBytes)
        case (.data, _):
            try await write(frame.payload, to: STDOUT_FILENO)
            progress.stdout += UInt64(frame.payload.readableBytes)
        case (.message, _):
            let message = try JSON.decode(Message.self, from: Data(buffer: frame.payload))
            if let started = message.started {
                log.began(at: started.stdinOffset)
                progress.isAttached = true
                if progress.tailBytes != nil {
                    (progress.stdout, progress.stderr) = (started.stdoutOffset, started.stderrOffset)
                    progress.tailBytes = nil
                }
            }
            if let passed = message.stdin?.passed { log.passed(upTo: passed) }
            if let gap = message.gap {
                gap.tell()
                if gap.stream == "stderr" { progress.stderr = gap.to } else { progress.stdout = gap.to }
            }
            if let error = message.error { throw error }
            message.result?.tellLimit()
            return message.result?.exitStatus
        default: break
        }
        return nil
    }

    private func write(_ bytes: ByteBuffer, to file: Int32) async throws {
        guard try Output.isWritten(Data(buffer: bytes), to: file) else { await leaveNow(128 + SIGPIPE) }
    }

    private func leaveNow(_ status: Int32) async -> Never {
        await options.parting.leaveNow(client, exec, status: status)
    }

    private struct Message: Decodable {
        struct Passed: Decodable { var passed: UInt64 }
        struct Started: Decodable {
            var stdoutOffset: UInt64
            var stderrOffset: UInt64
            var stdinOffset: UInt64
        }

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
        Thread.detachNewThread { [self] in
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            while true {
                let count = read(STDIN_FILENO, &buffer, buffer.count)
                if count < 0 {
                    guard waitsForInput(after: errno) else { return }
                    continue
                }
                guard count > 0 else { return log.finish() }
                let bytes = buffer.prefix(count)
                // Without a connection Ctrl-C reaches nobody but this program.
                if options.usesTerminal, !log.isConnected, bytes.contains(3) { leaveUnconnected() }
                log.append(Data(bytes))
            }
        }
    }

    private func leaveUnconnected() -> Never {
        TerminalMode.restore()
        Output.error(
            "There is no connection to the controller at the moment; the command goes on. Come back to it with ‘fastable attach "
                + "\(exec)’.")
        _exit(125)
    }

    /// An error is no end: a command that took it for one would go on with a part of its input.
    private func waitsForInput(after error: Int32) -> Bool {
        switch error {
        case EINTR: return true
        case EAGAIN:
            var file = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            poll(&file, 1, -1)
            return true
        case EIO where options.usesTerminal:
            options.parting.leave(client, exec, status: 128 + SIGHUP)
            return false
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
        if !options.isToldInterrupts { on(SIGINT) { [self] in interrupted() } }
        for number in [SIGTERM, SIGHUP] {
            on(number) { [self] in options.parting.leave(client, exec, status: 128 + number) }
        }
        return sources
    }

    func interrupted() {
        guard log.isConnected else { leaveUnconnected() }
        let isSecond = counter.withLock { $0.interrupted(at: .now) }
        // In a terminal Ctrl-C is a key, and this signal is somebody else's.
        guard isSecond, !options.usesTerminal else { return log.ask(["signal": "SIGINT"]) }
        Parting.kills.leave(client, exec, status: 128 + SIGINT)
    }
}
