import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

/// What the node knows of a project, as it stands in the project's `record.json`.
struct ProjectRecord: Codable, Sendable, Equatable {
    /// What was last wished for.
    var spec: ContainerSpec
    /// The ids of the project's files hang on it, so it never changes.
    var slot: Int
    /// The image that the container's own changes were made on.
    var image: String
    /// The image's root file system at that time: in another one the changes would fit to nothing.
    var rootfs: String?
    var state: ContainerState
    /// Why it is in this state.
    var reason: String
    /// The last incarnation.
    var container: ContainerID?
    /// The incarnation's init, while it runs.
    var process: ProcessIdentity?
    var startedAt: Date?
    /// Since when it is in its state: for the clock that nobody sets, and for people.
    var since: BootMoment?
    var changedAt: Date?
    /// When its files were used last, coarsely.
    var filesUsedAt: Date?
    var wish: LifecycleReconciler.Desired.Wish?
    var leases: [Lease]?
    /// Limits that the last incarnation came to.
    var limitHits: [LimitTally]?
    /// Runs of its supervised processes.
    var supervised: [SupervisorStateMachine.Recorded]?

    /// A wish to keep the container awake.
    struct Lease: Codable, Sendable, Equatable {
        var reason: String
        var until: BootMoment
    }

    /// What was last wished for, as the reconciler takes it.
    var desired: LifecycleReconciler.Desired {
        LifecycleReconciler.Desired(wish: wish ?? .onDemand, policy: spec.lifecycle ?? .standard)
    }
}

/// Guards what is made below a project's directory: once that was taken away, a late write does not bring it back. Its calls block.
final class ProjectDirectory: Sendable {
    private struct State {
        var isGone = false
        /// Of the record that was written last.
        var number: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Throws `conflict` when the directory was taken away.
    func write(_ body: () throws -> Void) throws {
        try state.withLock { state in
            guard !state.isGone else { throw FastableError(.conflict, "The project was deleted from the node.") }
            try body()
        }
    }

    /// The same for records, each of which knows all that those with lower numbers knew: one that comes late is not written.
    func write(_ number: UInt64, _ body: () throws -> Void) throws {
        try state.withLock { state in
            guard !state.isGone else { throw FastableError(.conflict, "The project was deleted from the node.") }
            guard number > state.number else { return }
            try body()
            state.number = number
        }
    }

    func takeAway(_ body: () throws -> String?) throws -> String? {
        try state.withLock { state in
            let path = try body()
            state.isGone = true
            return path
        }
    }
}

/// The records on disk. Its calls block.
struct ProjectLedger: Sendable {
    let paths: NodePaths

    func save(_ record: ProjectRecord) throws {
        let project = paths.project(record.spec.project)
        try Directories.make(project.directory, mode: 0o700)
        try AtomicFile.write(project.record, Array(try JSON.encodePretty(record)))
    }

    /// All records. A directory without a readable one is given by name: nobody can work with its files before it is mended.
    func load() -> (records: [ProjectRecord], broken: [String]) {
        var records: [ProjectRecord] = []
        var broken: [String] = []
        for name in Directories.names(paths.projects) {
            if let project = ProjectID(name), let record = try? load(project), record.spec.project == project {
                records.append(record)
            } else {
                broken.append(name)
            }
        }
        return (records, broken)
    }

    private func load(_ project: ProjectID) throws -> ProjectRecord? {
        guard let bytes = try SmallFile.read(paths.project(project).record, atMost: 1024 * 1024) else { return nil }
        return try JSON.decode(ProjectRecord.self, from: Data(bytes))
    }
}
