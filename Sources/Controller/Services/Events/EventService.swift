public import ControllerDomain
import ControllerStore
public import FastableCore
public import FoundationEssentials

/// Which events somebody asks for, in their words.
public struct EventQuery: Sendable {
    /// Name or id.
    public var project: String?
    /// Empty for all.
    public var kinds: [String]
    /// The last event that was seen.
    public var after: Int64?
    /// Goes on with the events of the future.
    public var follows: Bool

    public init(project: String? = nil, kinds: [String] = [], after: Int64? = nil, follows: Bool = false) {
        self.project = project
        self.kinds = kinds
        self.after = after
        self.follows = follows
    }

    /// Throws `unprocessable` for a kind that does not exist.
    static func kinds(_ names: [String]) throws -> Set<PlatformEvent.Kind> {
        Set(
            try names.map { name in
                if let kind = PlatformEvent.Kind(rawValue: name) { return kind }
                let known = PlatformEvent.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw FastableError(
                    .unprocessable, "There is no kind of event ‘\(name.shortened)’. There are: \(known).",
                    details: ["field": "kinds"])
            })
    }
}

/// Events for the doors. Everybody sees those of their workspace; the fleet's are for administrators.
public final class EventService: Sendable {
    private let log: EventLog
    private let store: any Store
    private let projects: ProjectService
    private let gate: OperationGate
    private let followers = AttachmentLimit(most: Limits.eventStreamsPerToken, of: "streams of events")

    init(log: EventLog, store: any Store, projects: ProjectService, gate: OperationGate) {
        self.log = log
        self.store = store
        self.projects = projects
        self.gate = gate
    }

    /// Needs `projects:read`. A feed that follows ends after `Limits.eventStreamSeconds`.
    public func follow(_ query: EventQuery, context: OperationContext) async throws -> EventFeed {
        let subject = OperationGate.Subject(operation: "events.follow", scope: .projectsRead, isMutating: false)
        return try await gate.pass(subject, context) {
            let filter = try await self.filter(query, context)
            return (filter, filter.project, Operation.Note())
        } handle: { filter in
            let hold = try self.followers.take(context.principal.token)
            return (try await self.log.feed(filter, after: query.after, follows: query.follows, hold: hold), [:])
        }
    }

    /// One page, oldest first, and what is kept.
    func page(_ query: EventQuery, limit: Int, context: OperationContext) async throws -> EventPage {
        try await store.events(try await filter(query, context), after: query.after ?? 0, limit: limit)
    }

    private func filter(_ query: EventQuery, _ context: OperationContext) async throws -> EventFilter {
        var workspaces: Set = [context.principal.workspace]
        if context.principal.holds(.admin) { workspaces.insert(.system) }
        return EventFilter(
            workspaces: workspaces, project: try await project(query.project, context),
            kinds: try EventQuery.kinds(query.kinds))
    }

    /// An id is taken as it is: events outlive projects.
    private func project(_ text: String?, _ context: OperationContext) async throws -> ProjectID? {
        guard let text else { return nil }
        if let id = ProjectID(text) { return id }
        return try await projects.resolve(text, for: context.principal).id
    }
}

/// An event as people and programs read it, at every door and in webhooks.
public struct EventView: Codable, Sendable {
    public var id: String
    public var kind: String
    public var at: Date
    public var workspace: WorkspaceID
    public var project: ProjectID?
    public var node: NodeID?
    public var data: [String: JSONValue]

    public init(_ stored: StoredEvent) {
        let event = stored.event
        id = String(stored.sequence)
        kind = event.kind.rawValue
        at = event.at
        workspace = event.workspace
        project = event.project
        node = event.node
        data = event.data
    }

    /// Not an event of the log: `webhooks_test` sends it.
    init(testOf webhook: Webhook, at now: Date) {
        id = "0"
        kind = "webhook.test"
        at = now
        workspace = webhook.workspace
        data = ["webhook": .string(webhook.id.description)]
    }
}

/// Told in place of events that are no longer kept.
public struct LostEventsView: Encodable, Sendable {
    public static let kind = "lost"

    public var kind = Self.kind
    /// The first event that comes now.
    public var before: String

    public init(before: Int64) { self.before = String(before) }
}
