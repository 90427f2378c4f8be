package import FastableCore

/// The projects that were deleted lately. Ids are never used again, so a call that still brings one was under way when the project
/// was deleted, and must not bring that back.
package struct DeletedProjects {
    private var projects: Set<ProjectID> = []
    /// The first one is forgotten first.
    private var order: [ProjectID] = []
    private let limit: Int

    package init(limit: Int = Limits.deletedProjectsRemembered) { self.limit = limit }

    package func contains(_ project: ProjectID) -> Bool { projects.contains(project) }

    package mutating func insert(_ project: ProjectID) {
        guard projects.insert(project).inserted else { return }
        order.append(project)
        if order.count > limit { projects.remove(order.removeFirst()) }
    }
}
