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
    /// It is told of the fleet, too.
    public var includesFleet: Bool
    /// The signing secret, encrypted: whoever reads the database alone cannot sign.
    public var sealedSecret: [UInt8]
    public var createdAt: Date
    public var progress: Progress

    public init(
        id: WebhookID, workspace: WorkspaceID, url: String, description: String, kinds: Set<PlatformEvent.Kind>,
        includesFleet: Bool, sealedSecret: [UInt8], createdAt: Date, progress: Progress
    ) {
        self.id = id
        self.workspace = workspace
        self.url = url
        self.description = description
        self.kinds = kinds
        self.includesFleet = includesFleet
        self.sealedSecret = sealedSecret
        self.createdAt = createdAt
        self.progress = progress
    }

    public var filter: EventFilter {
        EventFilter(workspaces: includesFleet ? [workspace, .system] : [workspace], kinds: kinds)
    }

    /// How far deliveries are. A pure machine: what happened goes in with the time, and what is due comes out.
    public struct Progress: Sendable, Equatable {
        public enum Health: String, Sendable, CaseIterable { case ok, failing, disabled }

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

        public var health: Health { disabledAt != nil ? .disabled : attempts > 0 ? .failing : .ok }

        public func isDue(at now: Date) -> Bool {
            guard disabledAt == nil else { return false }
            guard let next = nextAttemptAt else { return true }
            // No pause is as long as this: the clock was ahead when it was noted.
            return next <= now || next > now.addingTimeInterval(Self.longestPause * 1.25)
        }

        /// Nothing up to here is left to tell.
        public mutating func passed(_ sequence: Int64) { delivered = max(delivered, sequence) }

        public mutating func succeeded(_ sequence: Int64, at now: Date) {
            passed(sequence)
            resumed()
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
            // The clock may have been set back since.
            let since = min(failingSince ?? now, now)
            failingSince = since
            let pause = Limits.webhookRetryFirstSeconds << min(max(attempts - 1, 0), 20)
            nextAttemptAt = now.addingTimeInterval(min(Double(pause), Self.longestPause) * (1 + random / 4))
            if now.timeIntervalSince(since) >= Double(Limits.webhookGivesUpHours) * 3600 { disabledAt = now }
        }

        private static let longestPause = Double(Limits.webhookRetryLongestSeconds)
    }
}

/// Where a webhook may lead, by the form of its address. What its name resolves to is checked at each delivery.
public enum WebhookURLRule {
    /// Throws `unprocessable`.
    public static func check(_ text: String, allowsPrivate: Bool) throws {
        guard text.utf8.count <= Limits.webhookURLBytes, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            let url = URL(string: text), let scheme = url.scheme?.lowercased(),
            let host = url.host(percentEncoded: true), isHost(host)
        else { throw problem("must be an address like https://example.com/hook") }
        guard scheme == "https" || (scheme == "http" && allowsPrivate) else {
            throw problem("must begin with https://")
        }
        guard url.user == nil, url.password == nil else { throw problem("must carry no user and no password") }
        guard url.fragment == nil else { throw problem("must have no fragment") }
        guard url.port.map({ (1...65_535).contains($0) }) ?? true else {
            throw problem("has a port that does not exist")
        }
    }

    /// A name or an address, as they are: what needs decoding could be read in two ways.
    private static func isHost(_ host: String) -> Bool {
        !host.isEmpty && host.utf8.count <= 255
            && host.utf8.allSatisfy { byte in
                let scalar = Unicode.Scalar(byte)
                return scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || "-._:[]".unicodeScalars.contains(scalar)
            }
    }

    private static func problem(_ what: String) -> FastableError {
        FastableError(.unprocessable, "The field ‘url’ \(what).", details: ["field": "url"])
    }
}
