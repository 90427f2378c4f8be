import CLinux
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
        try Self.check(signal)
        guard let session = registry[exec] else {
            _ = try await self.session(exec)
            if signal == 9 { _ = try await endLeftovers(of: exec, signal: 9, grace: .zero) }
            return
        }
        try await kill(session, signal: signal)
    }

    /// Asks every process of a command to end by a signal, and ends those that are left after `grace`. Returns when nothing is, although
    /// somebody who follows it may still have to read what it printed; the receipt has no result then. Throws like `kill`.
    public func end(_ exec: ExecID, signal: Int32, grace: Duration) async throws -> ExecKillReceipt {
        try Self.check(signal)
        guard let session = registry[exec] else {
            let result = try await self.session(exec).status.result
            let wasForced = try await endLeftovers(of: exec, signal: signal, grace: grace)
            return ExecKillReceipt(everythingEnded: true, wasForced: wasForced, result: result)
        }
        var isLeft = session.status.running || mayHaveProcesses(session.number)
        if isLeft, signal != 9 {
            try await signalEveryone(session.number, signal)
            isLeft = try await !isEmptied(session.number, within: grace)
        }
        // In any case: it says for certain that nothing is left, and waits for a command that is only about to start.
        try await kill(session, signal: 9)
        // One that never began, or whose container has ended, has none; nothing of it is left all the same.
        let result = try? await first(within: .milliseconds(Limits.execReceiptResultMilliseconds)) {
            try await self.result(of: session)
        }
        try Task.checkCancellation()
        return ExecKillReceipt(everythingEnded: true, wasForced: isLeft, result: result.flatMap(\.self))
    }

    private static func check(_ signal: Int32) throws {
        guard (1...64).contains(signal) else {
            throw FastableError(
                .unprocessable, "\(signal) is not a signal. Use a number from 1 to 64.",
                details: ["field": "signal"])
        }
    }

    private func kill(_ session: ExecSession, signal: Int32) async throws {
        let problem = try await receipt(session.number, signal: UInt32(signal))
        switch problem.number {
        case 0, ESRCH:
            guard signal == 9 else { return }
            // Init has forgotten it since it was looked up, which says nothing of what it has left running.
            if problem.number == ESRCH { _ = try await endAll(session.number) }
            session.everythingEnded()
        case EBUSY:
            throw FastableError(
                .limit, "Others are ending the command already. Ask again how it ended.", retryAfterSeconds: 1)
        default:
            throw FastableError(
                .internal, "The command could not be ended. The log of the node has the cause.", context: "\(problem)")
        }
    }

    /// Signals every process in a command's control group, also those that left its process group or outlived it.
    func signalEveryone(_ number: UInt32, _ signal: Int32) async throws {
        let everyone = try await receipt(number, signal: UInt32(signal) | FASTABLE_KILL_EVERYONE)
        // Nobody is there any more, or the init is of an earlier release and knows groups only.
        if everyone.number == ESRCH { _ = try await receipt(number, signal: UInt32(signal)) }
    }

    /// `true` when no process of a command was left in time.
    func isEmptied(_ number: UInt32, within grace: Duration) async throws -> Bool {
        let deadline = ContinuousClock.now + grace
        var pause = Duration.milliseconds(1)
        while mayHaveProcesses(number) {
            let left = deadline - .now
            guard left > .zero else { return false }
            try await Task.sleep(for: min(pause, left))
            pause = min(pause * 2, .milliseconds(Limits.execEndCheckMilliseconds))
        }
        return true
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

    private func receipt(_ exec: UInt32, signal: UInt32) async throws -> Errno {
        let number = try await withCheckedThrowingContinuation { (waiter: CheckedContinuation<CInt, any Error>) in
            let sent = state.withLock { state -> Result<UInt32, FastableError> in
                do throws(FastableError) { try Self.requireConnection(state) } catch { return .failure(error) }
                state.lastReceipt &+= 1
                state.kills[state.lastReceipt] = waiter
                link.send(InitRequest.kill(exec, receipt: state.lastReceipt, signal: signal))
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
