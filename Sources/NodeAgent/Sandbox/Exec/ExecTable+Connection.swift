import FastableCore
import Glibc
import Logging
import NIOCore
import NodeLinux
import Synchronization

/// Connecting to init, and handling what it says. Reports are handled on the link's event loop, one after the other.
extension ExecTable {
    /// Returns when init has told what it holds and it has been taken over.
    func connect() async throws {
        let attempt = state.withLock { state in
            state.attempt += 1
            state.greeting = Greeting()
            return state.attempt
        }
        let connection = try await InitConnection.open(path: socketPath, cgroup: cgroup, group: link.eventLoop) {
            [weak self] connection, event in self?.handle(event, of: connection, attempt)
        }
        let deadline = link.eventLoop.scheduleTask(in: .seconds(Int64(Limits.initGreetingSeconds))) {
            connection.close()
        }
        defer { deadline.cancel() }
        do { try await greeting(of: attempt) } catch {
            connection.close()
            throw error
        }
    }

    private func greeting(of attempt: Int) async throws {
        try await withCheckedThrowingContinuation { waiter in
            let settled = state.withLock { state -> Result<Void, any Error>? in
                guard state.attempt == attempt, state.phase != .closed else { return .failure(Self.noAnswer) }
                if state.phase == .connected { return .success(()) }
                state.greeting.waiter = waiter
                return nil
            }
            if let settled { waiter.resume(with: settled) }
        }
    }

    static let noAnswer = FastableError(
        .unavailable, "The container does not answer at the moment. Try again.", retryAfterSeconds: 1)

    private func handle(_ event: InitConnection.Event, of connection: InitConnection, _ attempt: Int) {
        guard state.withLock({ $0.attempt == attempt }) else { return connection.close() }
        switch event {
        case .closed: lost()
        case .report(let report):
            do throws(FastableError) { try handle(report, connection) } catch {
                link.logger.error("The init of \(container) broke the protocol: \(error)")
                connection.close()
            }
        }
    }

    private func handle(_ report: InitReport, _ connection: InitConnection) throws(FastableError) {
        switch report {
        case .welcome(let error, let held):
            guard error == 0 else { throw cgroupRefused(Errno(error)) }
            try greeted(connection) { $0.expected = held }
        case .held(let held):
            try greeted(connection) { $0.held.append(held) }
        case .data(let number, let channel, let offset, let bytes):
            try registry[number]?.received(bytes, channel: channel, offset: offset)
        case .end(let number, let channel):
            registry[number]?.ended(channel: channel)
        case .inputPassed(let number, let offset):
            registry[number]?.inputPassed(upTo: offset)
        case .exited(let number, let exit):
            registry[number]?.exited(exit)
        case .failed(let number, let stage, let errno):
            registry[number]?.failed(stage: stage, errno: errno)
        case .refused(let number, let reason):
            registry[number]?.refused(reason: reason)
        case .receipt(_, let number, let errno):
            let waiter = state.withLock { $0.kills.removeValue(forKey: number) }
            waiter?.resume(returning: errno)
        case .pong: break
        }
    }

    private func cgroupRefused(_ problem: Errno) -> FastableError {
        FastableError(
            .internal, "The container's control group cannot be used. The log of the node has the cause.",
            context: "\(problem)")
    }

    /// Takes one part of the greeting; the last one completes the connection.
    private func greeted(_ connection: InitConnection, _ change: (inout Greeting) -> Void) throws(FastableError) {
        let greeting = state.withLock { state in
            change(&state.greeting)
            return state.greeting
        }
        guard let expected = greeting.expected, greeting.held.count == expected else { return }
        try takeOver(greeting.held)
        let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            guard state.phase != .closed, state.phase != .gone else { return nil }
            link.use(connection)
            state.phase = .connected
            defer { state.greeting = Greeting() }
            return state.greeting.waiter
        }
        for session in registry.all { session.sendWaitingInput() }
        for held in greeting.held where registry[held.exec] == nil { release(held) }
        waiter?.resume()
    }

    /// Makes the registry equal to what init holds. No command can be started meanwhile: the connection is not in use.
    private func takeOver(_ held: [InitReport.Held]) throws(FastableError) {
        let numbers = Set(held.map(\.exec))
        for session in registry.all where !numbers.contains(session.number) {
            // Init did not get the request, or has released it already.
            session.fail(
                FastableError(
                    .unavailable, "The command did not reach the container. Run it again.", retryAfterSeconds: 1))
        }
        for held in held {
            state.withLock { $0.lastNumber = max($0.lastNumber, held.exec) }
            guard let exec = ExecID(held.token), !store.isComplete(exec) else { continue }
            if let session = registry[held.exec] {
                guard session.exec == exec else {
                    throw FastableError(.invalid, "The container's init mixed up its commands.", context: held.token)
                }
                session.reconnected(held)
                session.resendInput(held)
            } else {
                let session = ExecSession(
                    exec: exec, container: container, number: held.exec, command: nil, store: store, link: link,
                    recorder: recorder,
                    masking: ExecMasking(secrets: state.withLock { $0.foundSecrets[exec] }, patterns: secrets.patterns),
                    activity: activity, held: held)
                guard registry.add(session), held.takesInput else { continue }
                goOnFeeding(session)
            }
        }
        state.withLock { $0.foundSecrets = [:] }
    }

    /// Gives a command the rest of what it was to be given at its start: nobody else sends that again. Without it the command would wait
    /// for ever, or take a part for the whole, so one whose rest cannot be read is ended.
    private func goOnFeeding(_ session: ExecSession) {
        Task {
            do {
                guard let input = try await BlockingPool.shared.run({ [store] in try store.input(of: session.exec) })
                else {
                    return
                }
                session.feed(input)
            } catch {
                link.logger.error("The input of \(session.exec) cannot be read, so it is ended: \(error)")
                await endForGood(session)
            }
        }
    }

    /// Also when the connection is lost meanwhile.
    private func endForGood(_ session: ExecSession) async {
        while session.status.running, state.withLock({ $0.phase != .gone && $0.phase != .closed }) {
            do {
                _ = try await end(session.exec, signal: SIGTERM, grace: .seconds(Limits.execGraceSeconds))
                return
            } catch {
                link.logger.warning("\(session.exec) is not ended yet: \(error)")
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// Forgets what has been recorded before, or was not started by a node.
    private func release(_ held: InitReport.Held) { link.send(InitRequest.release(held.exec)) }

    /// The connection is gone: it is sought again, unless this is the first one or the last.
    private func lost() {
        let seeks = state.withLock { state -> Bool in
            guard state.phase == .connected else { return false }
            state.phase = .lost
            return true
        }
        link.use(nil)
        endWaiting()
        if seeks { Task { await seek() } }
    }

    /// Connects again; that nobody listens any more means that the container has ended.
    private func seek() async {
        var pause = Limits.initReconnectFirstMilliseconds
        while state.withLock({ $0.phase == .lost }) {
            do { return try await connect() } catch {
                if (error as? FastableError)?.code == .gone { return containerEnded() }
                link.logger.warning("The init of \(container) cannot be reached: \(error)")
            }
            try? await Task.sleep(for: .milliseconds(pause))
            pause = min(pause * 2, Limits.initReconnectLongestMilliseconds)
        }
    }

    /// Every process of the container is gone, and with them all that has not been reported.
    func containerEnded() {
        state.withLock { if $0.phase != .closed { $0.phase = .gone } }
        for session in registry.all {
            session.fail(ExecSession.lost)
        }
    }

    /// Drops the connection; nothing that arrives on it later is heard.
    func disconnect() {
        endWaiting()
        link.close()
        for session in registry.all { session.interrupt() }
    }

    /// Tells everybody who waits for init that there is no answer.
    private func endWaiting() {
        let (greeter, kills) = state.withLock { state in
            // A connection that ends before its greeting was complete is no connection.
            state.attempt += 1
            defer {
                state.greeting = Greeting()
                state.kills = [:]
            }
            return (state.greeting.waiter, state.kills.values)
        }
        greeter?.resume(throwing: Self.noAnswer)
        for waiter in kills { waiter.resume(throwing: Self.noAnswer) }
    }
}
