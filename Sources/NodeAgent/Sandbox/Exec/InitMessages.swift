import CLinux
package import FastableCore
package import FastableWire
package import NIOCore

/// What the node asks of `fastable-init`, as bytes for its socket. The layout stands in `init_protocol.h`.
package enum InitRequest {
    /// Whom a program runs as, where, and for how long.
    package struct Spawn {
        var user: ExecUser
        var timeoutMilliseconds: UInt32
        var token: String
        var command: ExecCommand
    }

    package static func hello() -> ByteBuffer {
        message(FASTABLE_MESSAGE_HELLO, stream: 0) { $0.writeInteger(FASTABLE_INIT_VERSION) }
    }

    package static func open(_ exec: UInt32, _ spawn: Spawn) -> ByteBuffer {
        frame(FASTABLE_FRAME_OPEN, stream: exec) { payload in
            payload.writeMultipleIntegers(
                flags(of: spawn), spawn.user.uid, spawn.user.gid, spawn.timeoutMilliseconds)
            let terminal = spawn.command.terminal ?? TerminalSize(rows: 0, columns: 0)
            payload.writeMultipleIntegers(terminal.rows, terminal.columns)
            write(spawn.token, to: &payload)
            write(spawn.command.workingDirectory, to: &payload)
            payload.writeInteger(UInt32(clamping: spawn.command.arguments.count))
            for argument in spawn.command.arguments { write(argument, to: &payload) }
            payload.writeInteger(UInt32(clamping: spawn.command.environment.count))
            for (name, value) in spawn.command.environment { write("\(name)=\(value)", to: &payload) }
            guard !spawn.user.groups.isEmpty else { return }
            payload.writeInteger(UInt32(clamping: spawn.user.groups.count))
            for group in spawn.user.groups { payload.writeInteger(group) }
        }
    }

    private static func flags(of spawn: Spawn) -> UInt32 {
        (spawn.command.takesInput ? FASTABLE_OPEN_INPUT : 0)
            | (spawn.command.terminal == nil ? 0 : FASTABLE_OPEN_TERMINAL)
            | (spawn.user.groups.isEmpty ? 0 : FASTABLE_OPEN_GROUPS)
    }

    package static func input(_ exec: UInt32, _ piece: ExecInput.Piece) -> ByteBuffer {
        frame(FASTABLE_FRAME_DATA, stream: exec) { payload in
            payload.writeInteger(piece.offset)
            payload.writeImmutableBuffer(piece.bytes)
        }
    }

    package static func endInput(_ exec: UInt32, at offset: UInt64) -> ByteBuffer {
        frame(FASTABLE_FRAME_END, stream: exec) { $0.writeInteger(offset) }
    }

    package static func resize(_ exec: UInt32, _ size: TerminalSize) -> ByteBuffer {
        message(FASTABLE_MESSAGE_RESIZE, stream: exec) { $0.writeMultipleIntegers(size.rows, size.columns) }
    }

    /// What init is to tell again to the next daemon.
    package static func note(_ exec: UInt32, _ note: UInt32) -> ByteBuffer {
        message(FASTABLE_MESSAGE_NOTE, stream: exec) { $0.writeInteger(note) }
    }

    package static func stored(_ exec: UInt32, channel: UInt8, upTo offset: UInt64) -> ByteBuffer {
        frame(FASTABLE_FRAME_WINDOW, channel: channel, stream: exec) { $0.writeInteger(offset) }
    }

    package static func kill(_ exec: UInt32, receipt: UInt32, signal: UInt32) -> ByteBuffer {
        message(FASTABLE_MESSAGE_KILL, stream: exec) { $0.writeMultipleIntegers(receipt, signal) }
    }

    package static func release(_ exec: UInt32) -> ByteBuffer {
        message(FASTABLE_MESSAGE_RELEASE, stream: exec) { _ in }
    }

    private static func message(_ kind: UInt8, stream: UInt32, _ write: (inout ByteBuffer) -> Void) -> ByteBuffer {
        frame(FASTABLE_FRAME_MESSAGE, stream: stream) { payload in
            payload.writeInteger(kind)
            write(&payload)
        }
    }

    private static func frame(
        _ type: UInt8, channel: UInt8 = 0, stream: UInt32, _ write: (inout ByteBuffer) -> Void
    ) -> ByteBuffer {
        var payload = ByteBuffer()
        write(&payload)
        return FrameCodec.encode(
            Frame(type: FrameType(rawValue: type), channel: channel, stream: stream, payload: payload))
    }

    private static func write(_ text: String, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(clamping: text.utf8.count))
        buffer.writeString(text)
    }
}

/// What `fastable-init` tells the node. Init lives in a container: every field is checked.
package enum InitReport: Sendable, Equatable {
    /// An exec that init holds when the node connects.
    package struct Held: Sendable, Equatable {
        package var exec: UInt32
        package var stdoutStored: UInt64
        package var stderrStored: UInt64
        package var inputArrived: UInt64
        package var inputPassed: UInt64
        package var takesInput: Bool
        /// The last note about it, 0 without one.
        package var note: UInt32
        package var token: String
    }

    package struct Exit: Sendable, Equatable {
        package var bySignal: Bool
        package var value: Int32
        package var timedOut: Bool
        package var startedNanoseconds: UInt64
        package var durationNanoseconds: UInt64
        package var stdoutBytes: UInt64
        package var stderrBytes: UInt64
    }

    case welcome(cgroupError: Int32, held: Int)
    case held(Held)
    case data(exec: UInt32, channel: UInt8, offset: UInt64, ByteBuffer)
    case end(exec: UInt32, channel: UInt8)
    case inputPassed(exec: UInt32, upTo: UInt64)
    case exited(exec: UInt32, Exit)
    case failed(exec: UInt32, stage: UInt8, errno: Int32)
    case refused(exec: UInt32, reason: UInt8)
    case receipt(exec: UInt32, number: UInt32, errno: Int32)
    case pong

    /// Throws `invalid` when the frame does not follow the protocol.
    package init(_ frame: Frame) throws(FastableError) {
        guard let report = Self.read(frame) else {
            throw FastableError(
                .invalid, "The container's init sent a message that does not follow the protocol.",
                context: "type \(frame.type.rawValue), \(frame.payload.readableBytes) bytes")
        }
        self = report
    }

    private static func read(_ frame: Frame) -> InitReport? {
        var payload = frame.payload
        switch frame.type {
        case .data:
            guard isOutput(frame.channel), let offset = payload.readInteger(as: UInt64.self), isPossible(offset) else {
                return nil
            }
            return .data(exec: frame.stream, channel: frame.channel, offset: offset, payload)
        case .end:
            return isOutput(frame.channel) ? .end(exec: frame.stream, channel: frame.channel) : nil
        case .window:
            guard frame.channel == 0, let offset = payload.readInteger(as: UInt64.self), isPossible(offset) else {
                return nil
            }
            return .inputPassed(exec: frame.stream, upTo: offset)
        case .message:
            guard let kind = payload.readInteger(as: UInt8.self) else { return nil }
            return readMessage(kind, frame.stream, &payload)
        case .pong:
            return .pong
        default:
            return nil
        }
    }

    /// No command gets further; what is added to such an offset is far from the end of the numbers.
    private static func isPossible(_ offsets: UInt64...) -> Bool { offsets.allSatisfy { $0 <= Limits.execStreamBytes } }

    private static func isOutput(_ channel: UInt8) -> Bool { channel == 1 || channel == 2 }

    private static func readMessage(_ kind: UInt8, _ exec: UInt32, _ payload: inout ByteBuffer) -> InitReport? {
        switch kind {
        case FASTABLE_MESSAGE_WELCOME:
            guard let (version, error, held) = payload.readMultipleIntegers(as: (UInt32, UInt32, UInt32).self),
                version == FASTABLE_INIT_VERSION, held <= UInt32(FASTABLE_INIT_EXECS)
            else { return nil }
            return .welcome(cgroupError: Int32(clamping: error), held: Int(held))
        case FASTABLE_MESSAGE_HELD:
            return readHeld(exec, &payload)
        case FASTABLE_MESSAGE_EXITED:
            return readExit(exec, &payload)
        case FASTABLE_MESSAGE_FAILED:
            guard let (stage, error) = payload.readMultipleIntegers(as: (UInt8, UInt32).self) else { return nil }
            return .failed(exec: exec, stage: stage, errno: Int32(clamping: error))
        case FASTABLE_MESSAGE_REFUSED:
            return payload.readInteger(as: UInt8.self).map { .refused(exec: exec, reason: $0) }
        case FASTABLE_MESSAGE_RECEIPT:
            guard let (number, error) = payload.readMultipleIntegers(as: (UInt32, UInt32).self) else { return nil }
            return .receipt(exec: exec, number: number, errno: Int32(clamping: error))
        default:
            return nil
        }
    }

    private static func readHeld(_ exec: UInt32, _ payload: inout ByteBuffer) -> InitReport? {
        guard
            let (_, stdout, stderr, arrived, passed, takesInput) = payload.readMultipleIntegers(
                as: (UInt8, UInt64, UInt64, UInt64, UInt64, UInt8).self),
            isPossible(stdout, stderr, arrived), passed <= arrived,
            arrived - passed <= UInt64(FASTABLE_INIT_RING_BYTES),
            let (note, size) = payload.readMultipleIntegers(as: (UInt32, UInt32).self),
            size <= UInt32(FASTABLE_INIT_TOKEN_BYTES),
            let token = payload.readString(length: Int(size))
        else { return nil }
        return .held(
            Held(
                exec: exec, stdoutStored: stdout, stderrStored: stderr, inputArrived: arrived, inputPassed: passed,
                takesInput: takesInput != 0, note: note, token: token))
    }

    private static func readExit(_ exec: UInt32, _ payload: inout ByteBuffer) -> InitReport? {
        guard let (signal, value, timedOut) = payload.readMultipleIntegers(as: (UInt8, UInt32, UInt8).self),
            let (started, duration, stdout, stderr) = payload.readMultipleIntegers(
                as: (UInt64, UInt64, UInt64, UInt64).self),
            isPossible(stdout, stderr)
        else { return nil }
        let exit = Exit(
            bySignal: signal != 0, value: Int32(clamping: value), timedOut: timedOut != 0, startedNanoseconds: started,
            durationNanoseconds: duration, stdoutBytes: stdout, stderrBytes: stderr)
        return .exited(exec: exec, exit)
    }
}
