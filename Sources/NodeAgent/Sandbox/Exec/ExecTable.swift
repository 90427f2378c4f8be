public import FastableCore
import Glibc
package import Logging
public import NIOCore
package import NodeLinux
import Synchronization

/// The execs of one container: starts them through its init, keeps their output and results on disk, finds them again
/// after a restart of the daemon.
public final class ExecTable: Sendable {
    public let container: ContainerID
    let socketPath: String
    let cgroup: NodeLinux.FileDescriptor
    let store: ExecStore
    let registry = ExecRegistry()
    let recorder: ExecRecorder
    let link: InitLink
    let secrets = ContainerSecrets()
    /// Is told when commands begin and end.
    let activity: ProjectActivity?
    let state = Mutex(State())

    struct State {
        enum Phase: Equatable {
            /// Not connected yet, or waiting for init's greeting.
            case connecting
            case connected
            /// The connection was lost and is sought again.
            case lost
            /// The container has ended.
            case gone
            case closed
        }

        var phase = Phase.connecting
        /// Counts connections: what an older one still says is not heard.
        var attempt = 0
        var greeting = Greeting()
        /// Of commands that an earlier daemon has started, until they are taken over.
        var foundSecrets: [ExecID: SecretFile] = [:]
        var lastNumber: UInt32 = 0
        var lastReceipt: UInt32 = 0
        var kills: [UInt32: CheckedContinuation<CInt, any Error>] = [:]
    }

    /// What a new connection has told so far.
    struct Greeting {
        var expected: Int?
        var held: [InitReport.Held] = []
        var waiter: CheckedContinuation<Void, any Error>?
    }

    /// - Parameters:
    ///   - socketPath: where the container's init listens, on the host.
    ///   - cgroup: the container's cgroup v2 directory, delegated to the container's root (`CgroupTree.delegate`).
    ///   - store: the project's, in which nobody else writes how commands end.
    ///   - eventLoop: carries the output of all commands and writes it to the page cache; not for other work.
    package init(
        container: ContainerID, socketPath: String, cgroup: consuming NodeLinux.FileDescriptor, store: ExecStore,
        eventLoop: any EventLoop, activity: ProjectActivity? = nil, logger: Logger
    ) {
        self.activity = activity
        self.container = container
        self.socketPath = socketPath
        self.cgroup = cgroup
        self.store = store
        link = InitLink(eventLoop: eventLoop, logger: logger)
        recorder = ExecRecorder(store: store, registry: registry, link: link)
    }

    deinit {
        recorder.stopRetrying()
        link.close()
    }

    /// Connects to init and takes over what it holds. Call once before anything else, for a new container as well as
    /// for one that was running when the daemon ended.
    ///
    /// - Throws: `gone` when the container has ended, `unavailable` when it does not answer.
    public func recover() async throws {
        let (contents, found) = try await BlockingPool.shared.run { [store, container, secrets] in
            let contents = try store.scan(for: container)
            // Patterns take a while to build, and the greeting is read where the output of all commands is carried.
            var found: [ExecID: SecretFile] = [:]
            for exec in contents.incomplete { found[exec] = store.secrets(of: exec) }
            secrets.recover(found.compactMap { exec, file in file.secrets.map { (exec, $0) } })
            return (contents, found)
        }
        state.withLock { $0.foundSecrets = found }
        // A number is never given twice: what one command left running must not become another's.
        let highest = max(contents.highestNumber, try highestGroupNumber())
        state.withLock { $0.lastNumber = max($0.lastNumber, highest) }
        do { try await connect() } catch {
            let error = FastableError.unexpected(error, doing: "connecting to the container")
            if error.code == .gone {
                containerEnded()
                try await conclude(contents.incomplete)
            }
            throw error
        }
        do { try await conclude(contents.incomplete) } catch {
            // The container answers, which matters more; the next start completes the records.
            link.logger.error("Records of lost commands cannot be completed: \(error)")
        }
    }

    /// Completes the records of execs that nobody holds any more: their container ended while no daemon watched.
    private func conclude(_ incomplete: Set<ExecID>) async throws {
        let lost = incomplete.filter { registry[$0] == nil }
        for exec in lost { secrets.remove(exec) }
        guard !lost.isEmpty else { return }
        try await BlockingPool.shared.run { [store, container] in
            for exec in lost.sorted() { try store.conclude(exec, container: container) }
        }
        recorder.saveSoon()
    }

    /// Results of ended commands that the disk has refused so far. For tests.
    package var recordsRefused: Int { recorder.refusedCount }

    /// What commands print is masked for secrets. For tests.
    package var isMasking: Bool { secrets.patterns != nil }

    /// Commands that run now.
    public var runningCount: Int { registry.runningCount }
    var runningCommands: [ExecID] { registry.all.filter { $0.status.running }.map(\.exec) }

    /// Starts a command. That it cannot be run is not an error here: it then ends with status 127 or 126.
    ///
    /// - Throws: `gone` when the container has ended or is another one, `limit`, `unprocessable` when the command is
    ///   malformed, `conflict` when the id was used before, `cancelled` when it is among the `ended` ones, `unavailable`
    ///   while the container does not answer, and what `permit` throws, which is asked last.
    public func start(
        exec: ExecID, container: ContainerID, command: ExecCommand, user: ExecUser, input: ByteBuffer? = nil,
        ended: EndedExecs = EndedExecs(), permit: () throws -> Void = {}
    ) async throws -> ExecSession {
        guard container == self.container else { throw Self.gone }
        let spawn = try InitRequest.Spawn(exec: exec, command: command, user: user)
        secrets.forgetEnded(
            running: { Dictionary(registry.all.map { ($0.exec, $0.number) }) { first, _ in first } },
            last: state.withLock { $0.lastNumber })
        let kept = try await keep(command.secrets, input, for: exec)
        // Before anybody can see them.
        if let patterns = kept.patterns { for session in registry.all { session.mask(patterns) } }
        do {
            let session = try start(exec, spawn, kept.secrets, ended, permit)
            if let input { session.feed(input) }
            return session
        } catch {
            // It is of this attempt: that of another one with the same id could not have been made.
            if let file = kept.secrets {
                file.remove()
                secrets.remove(exec)
            }
            kept.input?.remove()
            throw error
        }
    }

    /// What another daemon would need to mask the output, and to go on giving the command what it reads: it must be there before the
    /// command is.
    private func keep(
        _ own: ExecSecrets?, _ input: ByteBuffer?, for exec: ExecID
    ) async throws -> (secrets: SecretFile?, patterns: SecretPatterns?, input: InputFile?) {
        let own = own.flatMap { $0.values.isEmpty ? nil : $0 }
        guard own != nil || input != nil else { return (nil, nil, nil) }
        guard !isKnown(exec) else { throw Self.taken(exec) }
        guard registry.runningCount < Limits.execsPerContainer else { throw ExecSession.tooMany }
        guard own != nil else { return try await write(own, input, for: exec) }
        await secrets.turns.take()
        defer { secrets.turns.giveBack() }
        return try await write(own, input, for: exec)
    }

    private func write(
        _ own: ExecSecrets?, _ input: ByteBuffer?, for exec: ExecID
    ) async throws -> (secrets: SecretFile?, patterns: SecretPatterns?, input: InputFile?) {
        try await BlockingPool.shared.run { [store, secrets] in
            var secretFile: SecretFile?
            do {
                var patterns: SecretPatterns?
                if let own {
                    secretFile = try store.keepSecrets(own, of: exec)
                    guard secretFile != nil else { throw Self.taken(exec) }
                    patterns = try secrets.add(own, of: exec)
                }
                guard let input else { return (secretFile, patterns, nil) }
                guard let file = try store.keepInput(input, of: exec) else { throw Self.taken(exec) }
                return (secretFile, patterns, file)
            } catch {
                if let secretFile {
                    secretFile.remove()
                    secrets.remove(exec)
                }
                throw error
            }
        }
    }

    /// It runs, or has run as far as is remembered.
    private func isKnown(_ exec: ExecID) -> Bool { registry[exec] != nil || store.isComplete(exec) }

    private static func taken(_ exec: ExecID) -> FastableError {
        FastableError(.conflict, "A command with the id \(exec) exists already. Use a new id.")
    }

    private func start(
        _ exec: ExecID, _ spawn: InitRequest.Spawn, _ own: SecretFile?, _ ended: EndedExecs,
        _ permit: () throws -> Void
    ) throws -> ExecSession {
        try state.withLock { state in
            try Self.requireConnection(state)
            // One that has ended is not in the registry any more: a late retry must not run it again.
            guard !isKnown(exec) else { throw Self.taken(exec) }
            guard registry.runningCount < Limits.execsPerContainer else { throw ExecSession.tooMany }
            repeat { state.lastNumber &+= 1 } while registry[state.lastNumber] != nil || state.lastNumber == 0
            let session = ExecSession(
                exec: exec, container: container, number: state.lastNumber, command: spawn.command, store: store,
                link: link, recorder: recorder, masking: ExecMasking(secrets: own, patterns: secrets.patterns),
                activity: activity)
            guard registry.add(session) else { throw Self.taken(exec) }
            // Those that another command has brought meanwhile, which may not have found this one.
            if let patterns = secrets.patterns { session.mask(patterns) }
            secrets.started(exec)
            // After it was registered, see `EndedExecs`.
            guard !ended.contains(exec) else {
                registry.remove(session)
                throw FastableError(.cancelled, "The command was ended before it started; it did not run.")
            }
            do { try permit() } catch {
                registry.remove(session)
                throw error
            }
            // Within the lock: a request must not slip onto a connection whose greeting has not seen it.
            link.send(InitRequest.open(session.number, spawn))
            if spawn.command.overflow == .drop {
                let note = ExecFollowers(overflow: .drop).note(present: 0)
                link.send(InitRequest.note(session.number, note))
            }
            return session
        }
    }

    static func requireConnection(_ state: State) throws(FastableError) {
        switch state.phase {
        case .connected: return
        case .gone, .closed: throw gone
        case .connecting, .lost:
            throw noAnswer
        }
    }

    static let gone = FastableError(.gone, "The container has ended. Run the command again to get a new one.")

    /// An exec of this project, running or ended; `notFound` when there is none or its record was given up for newer
    /// ones.
    public func session(_ exec: ExecID) async throws -> ExecSession {
        if let session = registry[exec] { return session }
        let ended = try await BlockingPool.shared.run { [store] in
            try store.read(exec).map { ExecSession($0, store: store) }
        }
        if let session = registry[exec] { return session }
        guard let ended else {
            throw FastableError(
                .notFound,
                "There is no command \(exec). How a command ended is kept for \(Limits.finishedExecDays) days.")
        }
        return ended
    }

    /// Whether an exec runs, and how it ended.
    public func status(_ exec: ExecID) async throws -> ExecStatus { try await session(exec).status }

    /// From here on no command starts, unless one runs: false then, and nothing has changed. The caller ends the container.
    ///
    /// - Parameter others: they do not count.
    func closeIfNothingRuns(besides others: Set<ExecID>) -> Bool {
        // Starts are registered within the lock: each is seen here, or sees that it comes too late.
        state.withLock { state in
            guard runningCommands.allSatisfy(others.contains) else { return false }
            if state.phase != .closed { state.phase = .gone }
            return true
        }
    }

    /// Lets go of the container: commands run on, and another table can recover them. Readers end with `unavailable`,
    /// or with `gone` when the caller has ended the container.
    public func close(containerEnded: Bool = false) async {
        let wasOpen = state.withLock { state in
            defer { state.phase = .closed }
            return state.phase != .closed
        }
        guard wasOpen else { return }
        if containerEnded { self.containerEnded() }
        await recorder.close()
        disconnect()
    }

    /// Cuts the connection to init, as a fault would; it is sought again. For tests.
    package func dropConnection() { link.close() }

    /// Ends as the death of the daemon would: nothing is finished. For tests.
    package func abandon() {
        state.withLock { $0.phase = .closed }
        recorder.stopRetrying()
        disconnect()
    }
}
