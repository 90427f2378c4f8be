import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// Bearer tokens: made, listed, revoked.
public final class TokenService: Sendable {
    private let store: any Store
    private let authenticator: Authenticator
    private let logger: Logger

    init(store: any Store, authenticator: Authenticator, logger: Logger) {
        self.store = store
        self.authenticator = authenticator
        self.logger = logger
    }

    /// What a token may do when nothing else is said: everything in its workspace but administer it.
    static let usualScopes = Set(Scope.allCases).subtracting([.admin])

    /// A new token. Its text exists only in the answer.
    func create(
        name: String, scopes: Set<Scope>, expiresAt: Date?, in workspace: WorkspaceID
    ) async throws -> (record: TokenRecord, text: Secret) {
        try Rules.tokenName(name)
        let text = TokenText.make()
        let record = TokenRecord(
            id: TokenID(), workspace: workspace, name: name, scopes: scopes, createdAt: .nowMilliseconds,
            expiresAt: expiresAt)
        try await store.createToken(record, hash: try Self.hash(text))
        return (record, text)
    }

    func list(in workspace: WorkspaceID) async throws -> [TokenRecord] { try await store.tokens(in: workspace) }

    /// Makes a token worthless at once.
    func revoke(_ id: TokenID, in workspace: WorkspaceID) async throws -> TokenRecord {
        let record = try await store.revokeToken(id, in: workspace, at: .nowMilliseconds)
        authenticator.forget(id)
        return record
    }

    /// Makes the first admin token of the default workspace when it has none that is usable, and writes it to `file`, which
    /// only its owner may read.
    ///
    /// Gives `true` when it made one. The file is written first: a crash in between leaves a text that nobody accepts, and the
    /// next start writes another.
    @discardableResult
    public func bootstrapAdminToken(file: String) async throws -> Bool {
        let now = Date.nowMilliseconds
        let workspace = try await store.bootstrap(now: now)
        let hasAdmin = try await store.tokens(in: workspace.id).contains { record in
            if case .usable = record.lookup(at: now) { record.scopes.contains(.admin) } else { false }
        }
        guard !hasAdmin else { return false }
        let text = TokenText.make()
        try AtomicFile.write(file, Array((text.reveal() + "\n").utf8))
        let record = TokenRecord(
            id: TokenID(), workspace: workspace.id, name: "first admin", scopes: Set(Scope.allCases), createdAt: now)
        try await store.createToken(record, hash: try Self.hash(text))
        logger.notice("The first admin token was made.", metadata: ["file": "\(file)", "token": "\(record.id)"])
        return true
    }

    private static func hash(_ text: Secret) throws -> TokenHash {
        guard let hash = TokenText.hash(text.reveal()) else {
            throw FastableError(.internal, "The new token has no hash.")
        }
        return hash
    }
}
