public import FastableCore
public import FoundationEssentials

/// Owns projects, tokens and quotas. Nothing of one workspace is visible in another.
public struct Workspace: Sendable, Equatable {
    public var id: WorkspaceID
    /// Unique among workspaces; `Rules.projectName` says what is allowed.
    public var name: String
    public var createdAt: Date
    /// For its projects, where they do not say otherwise.
    public var lifecycle: LifecyclePolicy
    /// The disk of its new projects that do not say otherwise; that of their nodes' standard unless given.
    public var diskBytes: Int?
    public var quota: WorkspaceQuota

    public init(
        id: WorkspaceID, name: String, createdAt: Date, lifecycle: LifecyclePolicy = LifecyclePolicy(),
        diskBytes: Int? = nil, quota: WorkspaceQuota = WorkspaceQuota()
    ) {
        self.quota = quota
        self.lifecycle = lifecycle
        self.diskBytes = diskBytes
        self.id = id
        self.name = name
        self.createdAt = createdAt
    }

    /// The workspace that is made at first start.
    public static let defaultName = "default"
    /// The name of the workspace that owns the fleet itself.
    public static let systemName = "system"
}

extension WorkspaceID {
    /// Owns what belongs to no customer: nodes, certificates, join tokens, events of the platform. The same everywhere.
    public static let system: WorkspaceID = {
        var zeros = Zeros()
        return WorkspaceID(milliseconds: 0, using: &zeros)
    }()
}

private struct Zeros: RandomNumberGenerator {
    mutating func next() -> UInt64 { 0 }
}
