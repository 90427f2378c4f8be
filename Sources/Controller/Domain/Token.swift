public import FastableCore
public import FoundationEssentials

/// A bearer token's record. The token itself is shown once and never stored.
public struct TokenRecord: Sendable, Equatable {
    public var id: TokenID
    public var workspace: WorkspaceID
    /// For people; need not be unique.
    public var name: String
    public var scopes: Set<Scope>
    public var createdAt: Date
    public var expiresAt: Date?
    public var revokedAt: Date?
    /// To about a minute.
    public var lastUsedAt: Date?

    public init(
        id: TokenID, workspace: WorkspaceID, name: String, scopes: Set<Scope>, createdAt: Date, expiresAt: Date? = nil,
        revokedAt: Date? = nil, lastUsedAt: Date? = nil
    ) {
        self.id = id
        self.workspace = workspace
        self.name = name
        self.scopes = scopes
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.lastUsedAt = lastUsedAt
    }

    /// Whether it may be used at a moment. Revocation counts before expiry.
    public func lookup(at now: Date) -> TokenLookup {
        if revokedAt != nil { return .revoked(self) }
        if let expiresAt, expiresAt <= now { return .expired(self) }
        return .usable(self)
    }

    /// What a request made with this token may do.
    public var principal: Principal {
        Principal(token: id, workspace: workspace, name: name, scopes: scopes, expiresAt: expiresAt)
    }
}

/// What was found for a token that a request carries.
public enum TokenLookup: Sendable, Equatable {
    case usable(TokenRecord)
    case expired(TokenRecord)
    case revoked(TokenRecord)
    case unknown
}

/// The SHA-256 of a bearer token.
public struct TokenHash: Sendable, Hashable {
    public static let byteCount = 32
    public let bytes: [UInt8]

    /// `nil` unless there are exactly 32 bytes.
    public init?(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)
        guard self.bytes.count == Self.byteCount else { return nil }
    }
}
