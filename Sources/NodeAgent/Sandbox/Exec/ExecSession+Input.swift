public import FastableCore
import Logging
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
                guard state.outcome == nil else { return .taken }
                guard !state.isInterrupted else { throw ExecState.interruption }
                let acceptance = try state.input.accept(rest, at: offset)
                sendInput(&state)
                return acceptance
            }
            guard case .full(let left) = acceptance else { return }
            if let start = offset { offset = start + UInt64(rest.readableBytes - left.readableBytes) }
            rest = left
            try await waitForRoom()
        }
    }

    /// The command reads an end of file behind what it has been given.
    ///
    /// - Throws: `conflict` when that is less than what comes before `offset`.
    public func finishInput(at offset: UInt64? = nil) throws(FastableError) {
        try state.withLock { state throws(FastableError) in
            try state.input.finish(at: offset)
            sendInput(&state)
        }
    }

    /// Gives the command all that it is to read, at its own pace. A daemon that takes over goes on with it.
    func feed(_ input: ByteBuffer) {
        Task {
            do {
                let arrived = state.withLock { $0.input.accepted }
                var rest = input
                rest.moveReaderIndex(forwardBy: Int(min(arrived, UInt64(input.readableBytes))))
                try await write(rest, at: arrived)
                try finishInput(at: UInt64(input.readableBytes))
            } catch {
                link?.logger.info("The input of \(exec) was not given to the end: \(error)")
            }
        }
    }

    /// Sends init what it has not been sent on the present connection. Within the lock, so that it comes in order. Without a connection it
    /// waits for the next one.
    private func sendInput(_ state: inout ExecState) {
        guard let link, link.isInUse else { return }
        let (pieces, end) = state.input.takeUnsent()
        for piece in pieces { link.send(InitRequest.input(number, piece)) }
        if let end { link.send(InitRequest.endInput(number, at: end)) }
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

    /// A new connection, which is not in use yet: what init did not get is to be sent again.
    func resendInput(_ held: InitReport.Held) {
        let waiters = state.withLock { state in
            state.input.reconnected(arrived: held.inputArrived, passed: held.inputPassed)
            return state.takeWriters() + state.takeWaiters()
        }
        for waiter in waiters { waiter.resume() }
    }

    /// The new connection is in use.
    func sendWaitingInput() { state.withLock { sendInput(&$0) } }
}
