import FastableCore
import NodeLinux

/// The control groups of searches, one per project. They are made with a project's first search and go with the project.
extension SandboxHost {
    private static let prefix = "search-"

    private func searchGroupName(_ project: ProjectID) -> String { "\(group)/\(Self.prefix)\(project)" }

    static func project(ofSearches group: String) -> ProjectID? {
        group.hasPrefix(prefix) ? ProjectID(String(group.dropFirst(prefix.count))) : nil
    }

    func searchGroup(of project: ProjectID) async throws -> GroupEntrance {
        let name = searchGroupName(project)
        let limits = ResourceLimits(
            cpus: Limits.searchCPUs, memoryBytes: Limits.searchGroupMemoryBytes, pids: Limits.searchPIDs)
        do {
            return try await BlockingPool.shared.run { try cgroups.make(name, limits: limits) }
        } catch {
            throw FastableError(
                .unavailable,
                "The node cannot limit what a search takes, so it does not search. Its log has the cause.",
                context: "\(name): \(error)")
        }
    }

    func removeSearchGroup(of project: ProjectID) async { await removeSearchGroups([searchGroupName(project)]) }

    /// What an earlier run of the daemon left of projects that are no more.
    func removeSearchGroups(except projects: Set<ProjectID>) async {
        let names = cgroups.children(of: group).filter { $0.hasPrefix(Self.prefix) }.map { "\(group)/\($0)" }
        await removeSearchGroups(names.filter { !Set(projects.map(searchGroupName)).contains($0) })
    }

    private func removeSearchGroups(_ names: [String]) async {
        var steps = Steps(logger: logger, container: nil)
        for name in names {
            await steps.attempt("remove the control group of searches") {
                try await BlockingPool.shared.run {
                    try cgroups.kill(name)
                    try cgroups.remove(name)
                }
            }
        }
    }
}
