public import FastableCore
public import FoundationEssentials

/// What a token may do in its workspace. `admin` implies all others, and acts on the fleet and on the workspace's
/// tokens.
public enum Scope: String, Codable, Sendable, CaseIterable {
    case projectsRead = "projects:read"
    case projectsWrite = "projects:write"
    case exec
    case filesRead = "files:read"
    case filesWrite = "files:write"
    case admin
}

/// Who asks: the token of a request, after it was found usable.
public struct Principal: Sendable, Equatable {
    public var token: TokenID
    public var workspace: WorkspaceID
    /// The token's name.
    public var name: String
    public var scopes: Set<Scope>
    /// When the token becomes worthless.
    public var expiresAt: Date?

    public init(
        token: TokenID, workspace: WorkspaceID, name: String, scopes: Set<Scope>, expiresAt: Date? = nil
    ) {
        self.token = token
        self.workspace = workspace
        self.name = name
        self.scopes = scopes
        self.expiresAt = expiresAt
    }

    public func holds(_ scope: Scope) -> Bool { scopes.contains(scope) || scopes.contains(.admin) }
}

/// The rules of access. There are two: a scope is held or not, and nothing of another workspace exists.
public enum Access {
    /// Throws `forbidden` when the scope is not held.
    public static func authorize(_ principal: Principal, _ scope: Scope) throws {
        guard !principal.holds(scope) else { return }
        throw FastableError(
            .forbidden,
            "The token ‘\(Words.shown(principal.name))’ does not have the scope ‘\(scope.rawValue)’. "
                + "Use one that has it; `fastable token create` makes it.",
            details: ["scope": .string(scope.rawValue)])
    }

    /// Throws `forbidden` when the scope is not held, and otherwise `not_found` when the thing is another workspace's.
    ///
    /// The scope is looked at first, since that answer does not depend on the thing; the second answer is the one
    /// that a missing thing gives. So neither tells whether a name is taken elsewhere.
    public static func authorize(
        _ principal: Principal, _ scope: Scope, on kind: Thing, named name: String,
        in workspace: WorkspaceID
    ) throws {
        try authorize(principal, scope)
        guard principal.workspace == workspace else { throw FastableError.missing(kind, name) }
    }
}

/// What can be missing.
public enum Thing: String, Sendable, CaseIterable {
    case project, workspace, node, token, exec, image, operation, webhook, snapshot, checkpoint
    case killSwitch = "kill switch"

    var advice: String {
        switch self {
        case .project: "`fastable project list` shows the projects of your workspace."
        case .workspace: "Check the spelling."
        case .node: "`fastable node list` shows the nodes."
        case .token: "`fastable token list` shows the tokens of your workspace."
        case .exec: "Results are kept for some days, and as long as the project exists."
        case .image: "`fastable image list` shows the images."
        case .webhook: "`fastable webhook list` shows the webhooks of your workspace."
        case .snapshot: "`fastable project snapshots` shows those of your workspace."
        case .checkpoint: "`fastable project checkpoints` shows those of a project."
        case .killSwitch: "`fastable kill list` shows those that are on."
        case .operation: "`GET /api/tools` lists the operations."
        }
    }
}

extension FastableError {
    /// The one answer for what does not exist, or not for the one who asks.
    public static func missing(_ kind: Thing, _ name: String) -> FastableError {
        FastableError(
            .notFound, "There is no \(kind.rawValue) ‘\(Words.shown(name))’. \(kind.advice)",
            details: ["kind": .string(kind.rawValue), "name": .string(Words.shown(name))])
    }
}
