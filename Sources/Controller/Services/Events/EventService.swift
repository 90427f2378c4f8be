import ControllerDomain
import ControllerStore
public import FastableCore
import FoundationEssentials

/// Events for the doors. Everybody sees those of their workspace; the fleet's are for administrators.
public final class EventService: Sendable {
    private let log: EventLog
    private let store: any Store
    private let projects: ProjectService
    private let gate: OperationGate

    init(log: EventLog, store: any Store, projects: ProjectService, gate: OperationGate) {
        self.log = log
        self.store = store
        self.projects = projects
        self.gate = gate
    }

    /// Needs `projects:read`. The feed ends after `Limits.eventStreamSeconds`.
    ///
    /// - Parameter place: the last event that the caller has seen.
    public func follow(
        _ wanted: EventQuery, after place: Int64?, context: OperationContext
    ) async throws -> EventFeed {
        let subject = OperationGate.Subject(operation: "events.follow", scope: .projectsRead, isMutating: false)
        return try await gate.pass(subject, context) {
            let filter = try await self.filter(wanted, context)
            return (filter, filter.project, Operation.Note())
        } handle: { filter in
            let end = ContinuousClock.now + .seconds(Limits.eventStreamSeconds)
            return (try await self.log.follow(filter, after: place, until: end), [:])
        }
    }

    func page(
        _ wanted: EventQuery, after place: Int64, limit: Int, context: OperationContext
    ) async throws -> EventPage {
        try await store.events(try await filter(wanted, context), after: place, limit: limit)
    }

    private func filter(_ wanted: EventQuery, _ context: OperationContext) async throws -> EventFilter {
        var workspaces: Set = [context.principal.workspace]
        if context.principal.holds(.admin) { workspaces.insert(.system) }
        return EventFilter(
            workspaces: workspaces, project: try await project(wanted.project, context),
            kinds: try EventQuery.kinds(wanted.kinds))
    }

    /// An id is taken as it is: events outlive projects.
    private func project(_ text: String?, _ context: OperationContext) async throws -> ProjectID? {
        guard let text else { return nil }
        if let id = ProjectID(text) { return id }
        return try await projects.resolve(text, for: context.principal).id
    }
}

/// Which events somebody asks for, in their words.
public struct EventQuery: Sendable {
    /// Name or id.
    public var project: String?
    /// Empty for all.
    public var kinds: [String]

    public init(project: String? = nil, kinds: [String] = []) {
        self.project = project
        self.kinds = kinds
    }

    /// Throws `unprocessable` for a kind that does not exist.
    static func kinds(_ names: [String]) throws -> Set<PlatformEvent.Kind> {
        Set(
            try names.map { name in
                if let kind = PlatformEvent.Kind(rawValue: name) { return kind }
                let known = PlatformEvent.Kind.allCases.map(\.rawValue).joined(separator: ", ")
                throw FastableError(
                    .unprocessable, "There is no kind of event ‘\(Words.shown(name))’. There are: \(known).",
                    details: ["field": "kinds"])
            })
    }
}

/// An event as people and programs read it, at every door and in webhooks.
public struct EventView: Codable, Sendable {
    public var id: String
    public var kind: PlatformEvent.Kind
    public var at: Date
    public var workspace: WorkspaceID
    public var project: ProjectID?
    public var node: NodeID?
    public var data: [String: JSONValue]

    public init(_ stored: StoredEvent) {
        let event = stored.event
        id = String(stored.sequence)
        kind = event.kind
        at = event.at
        workspace = event.workspace
        project = event.project
        node = event.node
        data = event.data
    }
}
