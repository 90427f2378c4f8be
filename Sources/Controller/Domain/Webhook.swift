public import FastableCore
public import FoundationEssentials

/// An address that is told what happens in a workspace: every event, in order, again until it was taken.
public struct Webhook: Sendable, Equatable {
    public var id: WebhookID
    public var workspace: WorkspaceID
    public var url: String
    /// What it is for; may be empty.
    public var description: String
    /// Empty for all.
    public var kinds: Set<PlatformEvent.Kind>
    /// The signing secret, encrypted: whoever reads the database alone cannot sign.
    public var sealedSecret: [UInt8]
    public var createdAt: Date
    public var progress: Progress

    public init(
        id: WebhookID, workspace: WorkspaceID, url: String, description: String, kinds: Set<PlatformEvent.Kind>,
        sealedSecret: [UInt8], createdAt: Date, progress: Progress
    ) {
        self.id = id
        self.workspace = workspace
        self.url = url
        self.description = description
        self.kinds = kinds
        self.sealedSecret = sealedSecret
        self.createdAt = createdAt
        self.progress = progress
    }

    public var filter: EventFilter { EventFilter(workspaces: [workspace], kinds: kinds) }

    /// How far deliveries are. A pure machine: what happened goes in with the time, and what is due comes out.
    public struct Progress: Sendable, Equatable {
        /// The last event that was taken, or passed over because it is not wanted.
        public var delivered: Int64
        /// Failed attempts for the next one.
        public var attempts = 0
        /// The first of the failures since the last success.
        public var failingSince: Date?
        public var nextAttemptAt: Date?
        public var lastProblem: String?
        public var lastSuccessAt: Date?
        /// It failed for too long and gets nothing any more.
        public var disabledAt: Date?

        public init(delivered: Int64) { self.delivered = delivered }

        public func isDue(at now: Date) -> Bool {
            disabledAt == nil && (nextAttemptAt.map { $0 <= now } ?? true)
        }

        /// Nothing up to here is left to tell.
        public mutating func passed(_ sequence: Int64) { delivered = max(delivered, sequence) }

        public mutating func succeeded(_ sequence: Int64, at now: Date) {
            passed(sequence)
            attempts = 0
            failingSince = nil
            nextAttemptAt = nil
            lastProblem = nil
            lastSuccessAt = now
        }

        /// Switched on again by its owner: the event that failed is sent once more, at once.
        public mutating func resumed() {
            attempts = 0
            failingSince = nil
            nextAttemptAt = nil
            disabledAt = nil
        }

        /// Pauses double, with up to a quarter more so that endpoints which failed together do not come back together.
        ///
        /// - Parameter random: 0 ..< 1.
        public mutating func failed(_ problem: String, at now: Date, random: Double) {
            attempts += 1
            lastProblem = problem
            let since = failingSince ?? now
            failingSince = since
            let longest = Double(Limits.webhookRetryLongestSeconds)
            let pause = min(longest, Double(Limits.webhookRetryFirstSeconds) * pow(2, Double(min(attempts, 30) - 1)))
            nextAttemptAt = now.addingTimeInterval(pause * (1 + random / 4))
            if now.timeIntervalSince(since) >= Double(Limits.webhookGivesUpHours) * 3600 { disabledAt = now }
        }
    }
}

/// Where a webhook may lead, by the form of its address. What its name resolves to is checked at each delivery.
public enum WebhookURLRule {
    /// Throws `unprocessable`.
    public static func check(_ text: String, allowsPrivate: Bool) throws {
        guard text.utf8.count <= Limits.webhookURLBytes, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            let url = URL(string: text), let scheme = url.scheme, let host = url.host, !host.isEmpty
        else { throw problem("must be an address like https://example.com/hook") }
        guard scheme == "https" || (scheme == "http" && allowsPrivate) else { throw problem("must begin with https://") }
        guard url.user == nil, url.password == nil else { throw problem("must carry no user and no password") }
        guard url.fragment == nil else { throw problem("must have no fragment") }
    }

    private static func problem(_ what: String) -> FastableError {
        FastableError(.unprocessable, "The field ‘url’ \(what).", details: ["field": "url"])
    }
}
