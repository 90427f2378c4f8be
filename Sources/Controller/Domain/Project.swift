public import FastableCore
public import FoundationEssentials

/// One project: what its container shall be, and the node that has it.
public struct Project: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable {
        case active
        /// Its container and files are being removed; its name is free again and it can no longer be used.
        case deleting
    }

    public var id: ProjectID
    public var workspace: WorkspaceID
    /// Unique among the active projects of the workspace.
    public var name: String
    public var image: String
    public var limits: ResourceLimits
    /// Environment of every exec, under what the exec itself sets.
    public var environment: [String: String]
    /// The node that has its container and files; `nil` until it was placed, and while it is archived.
    public var node: NodeID?
    public var origin: ProjectOrigin
    public var createdAt: Date
    /// When deletion was asked for.
    public var deletedAt: Date?
    /// Its own settings, those of its workspace, and how often either, or its limits, were changed.
    public var lifecycle: LifecyclePolicy
    public var inheritedLifecycle: LifecyclePolicy
    public var lifecycleRevision: Int
    /// Counts its stays on nodes: archiving ends one, and coming back begins the next.
    public var stay: Int
    public var archive: ProjectArchive?
    public var move: ProjectMove?
    /// Programs that run whenever its container does.
    public var supervised: [SupervisedProcess]
    /// What was told last of what will become of it.
    public var notice: ProjectDescent.Notice?

    public init(
        id: ProjectID, workspace: WorkspaceID, name: String, image: String, limits: ResourceLimits = ResourceLimits(),
        environment: [String: String] = [:], node: NodeID? = nil, origin: ProjectOrigin = .empty, createdAt: Date,
        deletedAt: Date? = nil, lifecycle: LifecyclePolicy = LifecyclePolicy(),
        inheritedLifecycle: LifecyclePolicy = LifecyclePolicy(), lifecycleRevision: Int = 0, stay: Int = 0,
        archive: ProjectArchive? = nil, move: ProjectMove? = nil, notice: ProjectDescent.Notice? = nil,
        supervised: [SupervisedProcess] = []
    ) {
        self.supervised = supervised
        self.move = move
        self.stay = stay
        self.archive = archive
        self.notice = notice
        self.lifecycle = lifecycle
        self.inheritedLifecycle = inheritedLifecycle
        self.lifecycleRevision = lifecycleRevision
        self.id = id
        self.workspace = workspace
        self.name = name
        self.image = image
        self.limits = limits
        self.environment = environment
        self.node = node
        self.origin = origin
        self.createdAt = createdAt
        self.deletedAt = deletedAt
    }

    /// Its node is not to be asked for anything: it has nothing of the project, or nobody knows whether it has.
    public var isAway: Bool { archive != nil || move?.state == .switching }

    public var state: State { deletedAt == nil ? .active : .deleting }

    /// The same project, or `unprocessable` naming the field that breaks a rule.
    public func validated() throws -> Project {
        try Rules.projectName(name)
        try Rules.imageName(image)
        try Rules.environment(environment)
        _ = try limits.validated()
        try origin.validate()
        _ = try lifecycle.validated()
        return self
    }

    /// When its container is suspended, stopped, archived and deleted.
    public var lifecyclePolicy: LifecyclePolicy {
        lifecycle.merged(over: inheritedLifecycle).merged(over: .standard)
    }

    /// What the node is asked to run.
    public var containerSpec: ContainerSpec {
        ContainerSpec(
            project: id, workspace: workspace, image: image, limits: limits, environment: environment,
            lifecycle: lifecyclePolicy, stay: stay, revision: lifecycleRevision,
            supervised: supervised.isEmpty ? nil : supervised)
    }
}

/// What a new project's `/workspace` begins with.
public enum ProjectOrigin: Sendable, Equatable {
    case empty
    /// A clone; the remote's default branch when `branch` is `nil`.
    case git(url: String, branch: String?)

    /// Throws `unprocessable` naming the field that breaks a rule.
    public func validate() throws {
        switch self {
        case .empty: break
        case .git(let url, let branch):
            try Rules.gitURL(url)
            if let branch { try Rules.gitBranch(branch) }
        }
    }
}

/// How people and agents name a project: by its id or by its name. No name looks like an id.
public enum ProjectKey: Sendable, Equatable, CustomStringConvertible {
    case id(ProjectID)
    case name(String)

    public init(_ text: String) { self = ProjectID(text).map(ProjectKey.id) ?? .name(text) }

    public var description: String {
        switch self {
        case .id(let id): id.description
        case .name(let name): name
        }
    }
}
