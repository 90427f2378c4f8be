public import FastableCore
public import NIOCore
import Synchronization

/// What those do who talk to a command.
extension ExecSession {
    /// Gives the command bytes to read, which begin at `offset` of its input (`nil`: behind everything that has come). Returns
    /// when init has room for them; what a command that has ended did not read is dropped.
    ///
    /// - Throws: `conflict` when bytes before `offset` are missing or the input has ended, `unavailable` when the node stops.
    public func write(_ bytes: ByteBuffer, at offset: UInt64?) async throws {
        var rest = bytes
        var offset = offset
        while rest.readableBytes > 0 {
            let acceptance = try state.withLock { state throws(FastableError) -> ExecInput.Acceptance in
                guard state.outcome == nil else { return .taken(nil) }
                guard !state.isInterrupted else { throw ExecState.interruption }
                let acceptance = try state.input.accept(rest, at: offset)
                // Within the lock: pieces must reach init in their order.
                switch acceptance {
                case .taken(let piece?), .full(let piece?, _): link?.send(InitRequest.input(number, piece))
                case .taken(nil), .full(nil, _): break
                }
                return acceptance
            }
            guard case .full(_, let left) = acceptance else { return }
            if let start = offset { offset = start + UInt64(rest.readableBytes - left.readableBytes) }
            rest = left
            try await waitForRoom()
        }
    }

    /// The command reads an end of file behind what it has been given.
    public func finishInput() {
        state.withLock { state in
            guard let end = state.input.finish() else { return }
            link?.send(InitRequest.endInput(number, at: end))
        }
    }

    /// Changes the size of the command's terminal, if it has one.
    public func resize(_ size: TerminalSize) { link?.send(InitRequest.resize(number, size)) }

    /// How much of its input the command has been given, and how many writers wait for room.
    package var inputProgress: (passed: UInt64, waitingWriters: Int) {
        state.withLock { ($0.input.passed, $0.writers.count) }
    }

    /// Sends a signal to the process group in the terminal's foreground, or to that of the command. Nothing answers.
    public func signal(_ signal: Int32) {
        guard (1...64).contains(signal) else { return }
        link?.send(InitRequest.kill(number, receipt: 0, signal: UInt32(signal)))
    }

    private func waitForRoom() async throws {
        let number = state.withLock { state in
            state.writerCount += 1
            return state.writerCount
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let waits = state.withLock { state -> Bool in
                    let isFutile = state.input.room > 0 || state.outcome != nil || state.isInterrupted
                    guard !isFutile, !Task.isCancelled else { return false }
                    state.writers[number] = waiter
                    return true
                }
                if !waits { waiter.resume() }
            }
        } onCancel: {
            state.withLock { $0.writers.removeValue(forKey: number) }?.resume()
        }
        try Task.checkCancellation()
    }

    /// Init has passed on everything before `offset`.
    func inputPassed(upTo offset: UInt64) {
        let waiters = state.withLock { state in
            state.input.passedOn(upTo: offset) ? state.takeWriters() + state.takeWaiters() : []
        }
        for waiter in waiters { waiter.resume() }
    }

    /// A new connection: what init did not get is sent again. Call before anything else is sent on it.
    func resendInput(_ held: InitReport.Held, on connection: InitConnection) {
        let waiters = state.withLock { state in
            let (pieces, end) = state.input.reconnected(arrived: held.inputArrived, passed: held.inputPassed)
            for piece in pieces { connection.send(InitRequest.input(number, piece)) }
            if let end { connection.send(InitRequest.endInput(number, at: end)) }
            return state.takeWriters() + state.takeWaiters()
        }
        for waiter in waiters { waiter.resume() }
    }
}
