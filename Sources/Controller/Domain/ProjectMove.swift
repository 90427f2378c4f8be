public import FastableCore
public import FoundationEssentials

/// That a project is on its way from its node to another one.
///
/// Until it is `switching`, its node has the content that counts, and can go on with it at any time. Then its node is asked to give the
/// content up, which it does unless somebody used it: so it is one node's or the other's at each moment, whatever dies meanwhile.
public struct ProjectMove: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable {
        /// The target may have a part of the content.
        case copying
        /// The target has all of it. The project's node may have given its own up.
        case switching
    }

    public var state: State
    public var target: NodeID
    /// The number of the stay that begins on the target.
    public var stay: Int
    /// It has the content; nobody removes it.
    public var snapshot: SnapshotID
    /// When nobody had used the project for the last time, as its node said before it was saved.
    public var restingSince: Date
    public var since: Date

    public init(
        state: State, target: NodeID, stay: Int, snapshot: SnapshotID, restingSince: Date, since: Date
    ) {
        self.state = state
        self.target = target
        self.stay = stay
        self.snapshot = snapshot
        self.restingSince = restingSince
        self.since = since
    }
}

/// What a node has, or may have, of a project that is not its own.
public struct ProjectRemains: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// Nobody ever used it: of a move that was given up.
        case remove
        /// The project was started elsewhere while this node was lost: it is kept for people.
        case setAside = "set_aside"
    }

    public var node: NodeID
    public var project: ProjectID
    /// The stay that never began, or that ended.
    public var stay: Int
    public var kind: Kind
    public var since: Date

    public init(node: NodeID, project: ProjectID, stay: Int, kind: Kind = .remove, since: Date) {
        self.node = node
        self.project = project
        self.stay = stay
        self.kind = kind
        self.since = since
    }
}

/// What a node that was lost had of a project, for people.
public struct SetAsideRecord: Sendable, Equatable {
    public var remains: ProjectRemains
    /// Its name when it was started elsewhere.
    public var projectName: String
    /// When the node had put it aside; `nil` as long as it has not come back.
    public var doneAt: Date?
    /// On the node's host; `nil` when the node had nothing.
    public var path: String?

    public init(remains: ProjectRemains, projectName: String, doneAt: Date? = nil, path: String? = nil) {
        self.remains = remains
        self.projectName = projectName
        self.doneAt = doneAt
        self.path = path
    }
}
