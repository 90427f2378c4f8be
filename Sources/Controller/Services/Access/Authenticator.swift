package import ControllerDomain
import ControllerStore
public import FastableCore
package import FoundationEssentials
import Logging
import Synchronization

/// Finds out who a bearer token stands for.
///
/// A token that was found good is taken for good for `Limits.principalCacheSeconds`, and never longer than it is valid;
/// revoking it here ends that at once.
public final class Authenticator: Sendable {
    private struct Entry {
        var record: TokenRecord
        var until: ContinuousClock.Instant
    }

    private struct State {
        var entries: [TokenHash: Entry] = [:]
        var revocations: UInt64 = 0
    }

    public let openStreams = OpenStreams()
    private let store: any TokenStore
    private let metrics: Metrics
    private let logger: Logger
    private let state = Mutex(State())

    init(store: any TokenStore, metrics: Metrics, logger: Logger) {
        self.store = store
        self.metrics = metrics
        self.logger = logger
    }

    /// The principal of a token's text, the part after `Bearer `. Throws `unauthenticated`, which says what to do.
    package func authenticate(_ token: Secret, at now: Date = .nowMilliseconds) async throws -> Principal {
        guard let hash = TokenText.hash(token.reveal()) else { throw refusal(Self.unknown) }
        let (known, revocations) = state.withLock { ($0.entries[hash], $0.revocations) }
        if let known, known.until > .now, case .usable(let record) = known.record.lookup(at: now) {
            return record.principal
        }
        switch try await store.findToken(hash: hash, now: now) {
        case .usable(let record):
            remember(record, hash, ifUnchangedSince: revocations)
            touch(record, now)
            return record.principal
        case .expired(let record):
            throw refusal("The token ‘\(record.name)’ has expired. Ask for a new one (`fastable token create`).")
        case .revoked(let record):
            throw refusal("The token ‘\(record.name)’ was revoked. Ask for a new one (`fastable token create`).")
        case .unknown: throw refusal(Self.unknown)
        }
    }

    /// The answer to a request without a token, counted like the others.
    public func missing() -> FastableError {
        refusal("This needs a token. Send it in the header ‘Authorization: Bearer fst_…’.")
    }

    /// The token was revoked: nothing is opened with it any more, and what it has open ends.
    func forget(_ token: TokenID) {
        state.withLock { state in
            state.revocations += 1
            state.entries = state.entries.filter { $0.value.record.id != token }
        }
        openStreams.end(token)
    }

    private static let unknown =
        "The token is not known here. Check that it was copied whole and belongs to this controller."

    private func refusal(_ message: String) -> FastableError {
        metrics.add(.authenticationsRefused)
        return FastableError(.unauthenticated, message)
    }

    /// Unless a token was revoked meanwhile: it could be this one.
    private func remember(_ record: TokenRecord, _ hash: TokenHash, ifUnchangedSince revocations: UInt64) {
        let entry = Entry(record: record, until: .now + .seconds(Limits.principalCacheSeconds))
        state.withLock { state in
            guard state.revocations == revocations else { return }
            if state.entries.count >= Limits.cachedRecords { state.entries = [:] }
            state.entries[hash] = entry
        }
    }

    /// Nobody waits for this note, and a failure is only worth a line in the log.
    private func touch(_ record: TokenRecord, _ now: Date) {
        Task {
            do {
                try await store.touchToken(record, at: now)
            } catch {
                logger.debug("A token's use could not be noted.", metadata: ["error": "\(error)"])
            }
        }
    }
}
