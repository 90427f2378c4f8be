/// What becomes of a workspace's projects whose node is lost.
public enum OnNodeLost: String, Codable, Sendable, CaseIterable {
    /// They wait for it.
    case wait
    /// The next use starts them elsewhere, from their last verified snapshot.
    case restore
}

/// The time for which a node may run containers that the controller would start elsewhere once it is lost. Each answer to hello and to a
/// report begins it anew, from the moment at which the node asked.
public struct NodeLease: Codable, Sendable, Equatable {
    public var seconds: Int

    public init(seconds: Int) { self.seconds = seconds }
}

/// A project that a node no longer has, whatever lies on its disk.
public struct ProjectDeparture: Codable, Sendable, Equatable {
    public var project: ProjectID
    /// The last of its stays that ended so: nothing of a later one is touched.
    public var stay: Int

    public init(project: ProjectID, stay: Int) {
        self.project = project
        self.stay = stay
    }
}

/// Where a node keeps what it has of a project that is another node's by now.
public struct SetAsideCopy: Codable, Sendable, Equatable {
    /// On the node's host; `nil` when the node had nothing.
    public var path: String?

    public init(path: String?) { self.path = path }
}

/// What a node is told when it has reported.
public struct NodeReportAnswer: Codable, Sendable, Equatable {
    public var lease: NodeLease?
    /// Told to a node that drops what can be had again: these images may not go.
    public var imagesInUse: [String]?

    public init(lease: NodeLease? = nil, imagesInUse: [String]? = nil) {
        self.lease = lease
        self.imagesInUse = imagesInUse
    }
}
