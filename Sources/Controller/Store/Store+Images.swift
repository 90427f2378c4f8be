public import FastableCore

public protocol ImageUseStore: Sendable {
    /// Names of the images that projects have, archived ones and those on other nodes too, or that snapshots would be restored on.
    func imagesInUse(limit: Int) async throws -> [String]
    /// Active projects with the image that are on no node: archived, or not used yet.
    func projectsWithoutNode(on image: String, limit: Int) async throws -> [ProjectID]
}
