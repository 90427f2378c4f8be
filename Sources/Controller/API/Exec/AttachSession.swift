import ControllerServices
import FastableCore
import FastableWire
import HummingbirdCore
import NIOCore
import Synchronization

/// One client on a WebSocket and one command: output one way, input the other, until the command has ended or the client has gone.
///
/// The client may go whenever it likes: the command goes on, and another attachment goes on at the offsets that were reached.
struct AttachSession: Sendable {
    static let subprotocol = "fastable.exec.v1"

    private let attachment: ExecAttachment
    private let input: ExecInputStart?
    private let request: APIRequest
    private let kill: Kill
    private let progress: InputProgress

    /// Sends a signal as an operation of its own.
    typealias Kill = @Sendable (ShellSignal) async throws -> Void

    init(attachment: ExecAttachment, input: ExecInputStart?, request: APIRequest, kill: @escaping Kill) {
        self.attachment = attachment
        self.input = input
        self.request = request
        self.kill = kill
        let start = if case .at(let offset)? = input { offset } else { attachment.offsets.input }
        progress = InputProgress(start: start)
    }

    func serve(_ client: inout any ResponseBodyWriter) async {
        let number = request.watch.onDisconnect { attachment.close() }
        defer {
            request.watch.forget(number)
            attachment.close()
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await takeInput() }
            await giveOutput(to: &client)
            // Otherwise the goodbye ends the input. Its task must not be cancelled then: that would end the connection at once.
            if progress.isOver { group.cancelAll() }
        }
    }

    // MARK: to the client

    private func giveOutput(to client: inout any ResponseBodyWriter) async {
        do {
            try await follow(&client)
            progress.endOutput()
            try await client.finish(nil)
        } catch {
            // The connection is gone, and with it everybody who could be told.
        }
    }

    /// Throws what the connection throws.
    private func follow(_ client: inout any ResponseBodyWriter) async throws {
        var attachment = attachment
        try await client.write(AttachMessage.started(attachment))
        while true {
            let event: ExecAttachment.Event?
            do {
                event = try await attachment.next()
            } catch {
                guard !progress.isOver else { return }
                return try await client.write(AttachMessage.failure(error))
            }
            switch event {
            case .data(let channel, _, let bytes):
                try await client.write(contentsOf: AttachMessage.data(channel: channel, bytes))
            case .gap(let channel, let from, let to):
                try await client.write(AttachMessage.gap(channel: channel, from: from, to: to))
            case .inputPassed(let offset):
                try await client.write(AttachMessage.inputPassed(upTo: offset))
                if progress.passed(upTo: offset) { return }
            case .finished(let result): return try await client.write(AttachMessage.result(result))
            case nil: return try await client.write(AttachMessage.failure(Self.noResult))
            }
        }
    }

    private static let noResult = FastableError(
        .internal, "The node ended the command's stream without its result. Ask for it: GET /api/execs/{exec}.")

    // MARK: from the client

    private func takeInput() async {
        do {
            for try await message in request.body.stream(limit: .max) {
                try await take(try AttachRequest(message))
            }
            await leave()
        } catch let close as WebSocketClose {
            progress.end()
            request.closeSocket(close)
            attachment.close()
        } catch {
            // The node's side failed, which the other direction tells; or the connection is gone, which the watch has told.
        }
    }

    private func take(_ wish: AttachRequest) async throws {
        guard input != nil, !progress.isInputEnded else { return try await takeWithoutInput(wish) }
        switch wish {
        case .input(let bytes):
            progress.wrote(bytes.readableBytes)
            try await attachment.write(bytes)
        case .endOfInput(let offset):
            progress.endInput()
            try await attachment.finishInput(at: offset)
        case .resize(let size): try await attachment.control(.resize(size))
        case .signal(let signal): try await attachment.control(.signal(signal.number))
        }
    }

    /// There is no way to the command on this attachment, or no longer: it only reads, or its input has ended.
    private func takeWithoutInput(_ wish: AttachRequest) async throws {
        switch wish {
        case .signal(let signal):
            do {
                try await kill(signal)
            } catch {
                throw WebSocketClose.refusal(FastableError.unexpected(error, doing: "sending the signal").message)
            }
        // Whoever resizes a window does not know that the input has ended.
        case .resize where input != nil: return
        case .input, .endOfInput, .resize:
            throw WebSocketClose.refusal(
                input == nil
                    ? "This attachment only reads. Attach with stdin=append or stdin=OFFSET to write."
                    : "The end of the input was sent before.")
        }
    }

    /// The client said goodbye. What it wrote is on its way to the command; cutting the stream now could lose it.
    private func leave() async {
        if !request.watch.isGone, !progress.leave() {
            try? await Task.sleep(for: .seconds(Limits.socketAbortSeconds))
        }
        progress.end()
        attachment.close()
    }
}

/// How much of what a client wrote its command has been given, and whether more can come.
private final class InputProgress: Sendable {
    private struct State {
        var written: UInt64
        var passed: UInt64 = 0
        var isInputEnded = false
        var isOutputEnded = false
        var isLeaving = false
        var isOver = false

        /// Nobody tells when an end of input has arrived, but most commands end at it.
        var isDone: Bool { isOutputEnded || passed >= written && !isInputEnded }
    }

    private let state: Mutex<State>

    init(start: UInt64) { state = Mutex(State(written: start)) }

    /// Nothing of the client counts any more.
    var isOver: Bool { state.withLock { $0.isOver } }
    var isInputEnded: Bool { state.withLock { $0.isInputEnded } }

    func wrote(_ count: Int) { state.withLock { $0.written &+= UInt64(count) } }
    func endInput() { state.withLock { $0.isInputEnded = true } }
    func endOutput() { state.withLock { $0.isOutputEnded = true } }
    func end() { state.withLock { $0.isOver = true } }

    /// `true` when the client has left and the command has been given everything.
    func passed(upTo offset: UInt64) -> Bool {
        state.withLock { state in
            state.passed = max(state.passed, offset)
            state.isOver = state.isOver || state.isLeaving && state.isDone
            return state.isOver
        }
    }

    /// `true` when the command has been given everything, or reads no more.
    func leave() -> Bool {
        state.withLock { state in
            state.isLeaving = true
            return state.isDone
        }
    }
}
