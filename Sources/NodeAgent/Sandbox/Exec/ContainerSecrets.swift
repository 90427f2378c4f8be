import FastableCore
import NodeLinux
import Synchronization

/// The secrets of a container's commands. One command can see another's (`/proc`, shared memory), so what each prints is masked for
/// those of all that run beside it.
///
/// What a command has read may still be on its way out when the one that it read of has ended: those secrets stay until all commands
/// have ended that ran beside that one.
final class ContainerSecrets: Sendable {
    fileprivate struct Entry {
        var exec: ExecID
        var values: Set<String>
        var hasStarted: Bool
        /// The number of the last command that ran beside it; `nil` while it runs.
        var lastNeighbour: UInt32?
    }

    fileprivate struct State {
        var entries: [Entry] = []
        var values: Set<String> = []
        var patterns: SecretPatterns?
        var generation = 0
    }

    private let state = Mutex(State())
    /// Whoever builds patterns, which takes a while.
    private let building = Mutex(())
    /// Who is about to build waits here, without keeping a thread meanwhile.
    let turns = Turns(1)

    /// What a command is masked for that starts now; `nil` when there is nothing.
    var patterns: SecretPatterns? { state.withLock { $0.patterns } }

    /// The secrets of a command that is about to start. Gives what all commands must be masked for before it does.
    ///
    /// - Throws: `limit` when those of the running commands are too many together.
    func add(_ secrets: ExecSecrets, of exec: ExecID) throws(FastableError) -> SecretPatterns {
        let entry = Entry(exec: exec, values: Set(secrets.values.values), hasStarted: false)
        return try building.withLock { _ throws(FastableError) in
            let fits = state.withLock { state in
                while Self.size(state.entries + [entry]) > Limits.containerSecretsBytes {
                    guard let oldest = state.entries.firstIndex(where: { $0.lastNeighbour != nil }) else {
                        return false
                    }
                    state.entries.remove(at: oldest)
                }
                state.entries.append(entry)
                return true
            }
            guard fits else { throw Self.tooMany }
            return build()
        }
    }

    /// Those of commands that an earlier daemon has started.
    func recover(_ found: [(exec: ExecID, secrets: ExecSecrets)]) {
        guard !found.isEmpty else { return }
        building.withLock { _ in
            state.withLock { state in
                let known = Set(state.entries.map(\.exec))
                state.entries += found.filter { !known.contains($0.exec) }.map {
                    Entry(exec: $0.exec, values: Set($0.secrets.values.values), hasStarted: true)
                }
            }
            _ = build()
        }
    }

    /// The caller holds `building`.
    private func build() -> SecretPatterns {
        let (values, known) = state.withLock { state in
            let values = state.entries.reduce(into: Set<String>()) { $0.formUnion($1.values) }
            return (values, values.isSubset(of: state.values) ? state.patterns : nil)
        }
        // Most commands of a project have the same ones.
        if let known { return known }
        let generation = state.withLock { state in
            state.generation += 1
            return state.generation
        }
        let forms = Set(values.flatMap { SecretPatterns.forms(of: Array($0.utf8)) })
        let patterns = SecretPatterns(forms, generation: generation)
        state.withLock { state in
            state.values = values
            state.patterns = patterns
        }
        return patterns
    }

    func started(_ exec: ExecID) {
        state.withLock { state in
            for index in state.entries.indices where state.entries[index].exec == exec {
                state.entries[index].hasStarted = true
            }
        }
    }

    /// It did not start.
    func remove(_ exec: ExecID) { state.withLock { $0.drop { $0.exec == exec } } }

    /// Forgets what no command can print any more.
    ///
    /// - Parameters:
    ///   - running: the numbers of the commands that may still print something.
    ///   - last: the highest number so far.
    func forgetEnded(running: () -> [ExecID: UInt32], last: UInt32) {
        guard state.withLock({ !$0.entries.isEmpty }) else { return }
        let running = running()
        let oldest = running.values.min() ?? .max
        state.withLock { state in
            for index in state.entries.indices {
                let entry = state.entries[index]
                guard entry.hasStarted, entry.lastNeighbour == nil, running[entry.exec] == nil else { continue }
                state.entries[index].lastNeighbour = last
            }
            state.drop { entry in entry.lastNeighbour.map { $0 < oldest } ?? false }
        }
    }

    private static func size(_ entries: [Entry]) -> Int {
        entries.reduce(into: Set<String>()) { $0.formUnion($1.values) }.reduce(0) { $0 + $1.utf8.count }
    }

    private static let tooMany = FastableError(
        .limit,
        "The secrets of the commands that run in this container have more than \(Limits.containerSecretsBytes) bytes together. Wait until "
            + "one has ended, or give large ones in files.",
        details: ["limit": .integer(Int64(Limits.containerSecretsBytes))])
}

extension ContainerSecrets.State {
    fileprivate mutating func drop(_ isDropped: (ContainerSecrets.Entry) -> Bool) {
        entries.removeAll(where: isDropped)
        guard entries.isEmpty else { return }
        values = []
        patterns = nil
    }
}
