import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// What the node knows of a project, as it stands in the project's `record.json`.
struct ProjectRecord: Codable, Sendable, Equatable {
    /// What was last wished for.
    var spec: ContainerSpec
    /// The ids of the project's files hang on it, so it never changes.
    var slot: Int
    /// The image that the container's own changes were made on.
    var image: String
    var state: ContainerState
    /// Why it is in this state.
    var reason: String
    /// The last incarnation.
    var container: ContainerID?
    /// The incarnation's init, while it runs.
    var process: ProcessIdentity?
    var startedAt: Date?
}

/// The records on disk. Its calls block.
struct ProjectLedger: Sendable {
    let paths: NodePaths

    func save(_ record: ProjectRecord) throws {
        let project = paths.project(record.spec.project)
        try Directories.make(project.directory, mode: 0o700)
        try AtomicFile.write(project.record, Array(try JSON.encodePretty(record)))
    }

    /// All records. A directory without a readable one is given by name: its files belong to nobody any more.
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
