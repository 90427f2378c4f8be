import ControllerDomain
import ControllerStore
import FastableCore

/// What a project's container is made from.
extension ProjectService {
    /// Throws `unprocessable` when the project's node, or every one while it has none, lacks the image. A node that is full or away is no
    /// reason: it may be different at the next use.
    func requireImage(_ image: String, for project: Project) async throws {
        var candidate = project
        candidate.image = image
        candidate = try candidate.validated()
        let decision = try await placement.decide(
            PlacementDemand(candidate), for: project.workspace, on: project.isAway ? nil : project.node)
        do {
            _ = try decision.requireNode()
        } catch let error as FastableError where error.code != .unprocessable {
            return
        }
    }

    /// The image of every container from the next one on.
    func setImage(_ image: String, of project: Project) async throws -> Project {
        defer { cache.forget(project) }
        return try await store.setImage(image, of: project.id, in: project.workspace)
    }
}
