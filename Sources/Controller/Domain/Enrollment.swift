public import FastableCore
public import FoundationEssentials

/// A certificate that was issued to a node.
public struct CertificateRecord: Sendable, Equatable {
    /// As the issuer writes it; unique.
    public var serial: String
    public var node: NodeID
    public var expiresAt: Date
    public var revokedAt: Date?

    public init(serial: String, node: NodeID, expiresAt: Date, revokedAt: Date? = nil) {
        self.serial = serial
        self.node = node
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
    }
}

/// A one-time permission to join. The secret itself is never stored, only the key that proves its possession.
public struct JoinTokenRecord: Sendable, Equatable {
    public var id: JoinTokenID
    /// Derived from the secret. It checks the node's proof and could as well make one: whoever reads it can use the token, as long
    /// as that is neither used nor expired.
    public var verificationKey: [UInt8]
    /// The node that may join again under its id; `nil` when a new one may.
    public var node: NodeID?
    public var createdAt: Date
    public var expiresAt: Date
    public var usedAt: Date?
    /// The node that joined with it.
    public var usedBy: NodeID?

    public init(
        id: JoinTokenID, verificationKey: [UInt8], node: NodeID? = nil, createdAt: Date, expiresAt: Date,
        usedAt: Date? = nil, usedBy: NodeID? = nil
    ) {
        self.id = id
        self.verificationKey = verificationKey
        self.node = node
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.usedAt = usedAt
        self.usedBy = usedBy
    }
}

/// What became of an attempt to use a join token. The log tells them apart; the one who tries is not told.
public enum JoinTokenUse: Sendable, Equatable {
    /// This attempt, and no other one, used it.
    case accepted(JoinTokenRecord)
    case alreadyUsed(at: Date)
    case expired(at: Date)
    case unknown
}
