public import FastableCore
import Glibc
import NIOCore
import NodeLinux
import Synchronization

extension ExecTable {
    /// Sends a signal to a command's process group; 9 ends everything that it started, and returns when nothing of it
    /// is left. An exec that has ended is no error.
    ///
    /// - Throws: `notFound`, `unprocessable` for a number that is no signal, `timeout` when processes do not end,
    ///   `unavailable` and `gone` like `start`.
    public func kill(_ exec: ExecID, signal: Int32) async throws {
        guard (1...64).contains(signal) else {
            throw FastableError(
                .unprocessable, "\(signal) is not a signal. Use a number from 1 to 64.",
                details: ["field": .string("signal")])
        }
        guard let session = registry[exec] else {
            _ = try await self.session(exec)
            if signal == 9 { _ = try await endLeftovers(of: exec) }
            return
        }
        let problem = try await receipt(session, signal: UInt32(signal))
        switch problem.number {
        case 0, ESRCH:
            if signal == 9 { session.everythingEnded() }
        case EBUSY:
            throw FastableError(
                .limit, "Others are ending the command already. Ask again how it ended.", retryAfterSeconds: 1)
        default:
            throw FastableError(
                .internal, "The command could not be ended. The log of the node has the cause.", context: "\(problem)")
        }
    }

    /// Asks a command to end by a signal, and ends everything that is left of it after `grace`. Returns when nothing is, although somebody
    /// who follows it may still have to read what it printed; the receipt has no result then. Throws like `kill`.
    public func end(_ exec: ExecID, signal: Int32, grace: Duration) async throws -> ExecKillReceipt {
        guard let session = registry[exec] else {
            let result = try await self.session(exec).status.result
            let wasForced = try await endLeftovers(of: exec)
            return ExecKillReceipt(everythingEnded: true, wasForced: wasForced, result: result)
        }
        var wasForced = false
        if signal != 9, session.status.running {
            try await kill(exec, signal: signal)
            wasForced = try await !ends(session, within: grace)
        }
        // Also what a command that has ended left running in the background.
        try await kill(exec, signal: 9)
        let result = try await first(within: .milliseconds(Limits.execReceiptResultMilliseconds)) {
            try await self.result(of: session)
        }
        return ExecKillReceipt(everythingEnded: true, wasForced: wasForced, result: result ?? nil)
    }

    /// `true` when the command ended in time. Its end is told only behind its output, which may have to wait for a reader: that no
    /// process is left says as much.
    private func ends(_ session: ExecSession, within grace: Duration) async throws -> Bool {
        let hasEnded = try await first(within: grace) {
            try await withThrowingTaskGroup(of: Void.self, returning: Bool.self) { group in
                group.addTask { _ = try await self.result(of: session) }
                group.addTask {
                    while self.isPopulated(session.number) {
                        try await Task.sleep(for: .milliseconds(Limits.execEndCheckMilliseconds))
                    }
                }
                defer { group.cancelAll() }
                try await group.next()
                return true
            }
        }
        return hasEnded ?? false
    }

    /// What `body` gives, or `nil` when that takes longer.
    private func first<Value: Sendable>(
        within time: Duration, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value? {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: time)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    /// How a command ended, once it has.
    private func result(of session: ExecSession) async throws -> ExecResult? {
        let printed = session.status
        let reader = session.events(stdoutFrom: printed.stdoutBytes, stderrFrom: printed.stderrBytes, follows: false)
        defer { reader.close() }
        while let chunk = try await reader.next() {
            if case .finished(let result) = chunk { return result }
        }
        return nil
    }

    private func receipt(_ session: ExecSession, signal: UInt32) async throws -> Errno {
        let number = try await withCheckedThrowingContinuation { (waiter: CheckedContinuation<CInt, any Error>) in
            let sent = state.withLock { state -> Result<UInt32, FastableError> in
                do throws(FastableError) { try Self.requireConnection(state) } catch { return .failure(error) }
                state.lastReceipt &+= 1
                state.kills[state.lastReceipt] = waiter
                link.send(InitRequest.kill(session.number, receipt: state.lastReceipt, signal: signal))
                return .success(state.lastReceipt)
            }
            switch sent {
            case .failure(let error): waiter.resume(throwing: error)
            case .success(let receipt):
                link.eventLoop.scheduleTask(in: .seconds(Int64(Limits.execKillSeconds))) { self.giveUp(receipt) }
            }
        }
        return Errno(number)
    }

    private func giveUp(_ receipt: UInt32) {
        let waiter = state.withLock { $0.kills.removeValue(forKey: receipt) }
        waiter?.resume(
            throwing: FastableError(
                .timeout, "Processes of the command did not end within \(Limits.execKillSeconds) seconds."))
    }
}
