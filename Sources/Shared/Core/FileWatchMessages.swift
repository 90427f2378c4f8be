/// Tells what changes below a directory, until nobody listens any more.
public struct FileWatch: Codable, Sendable, Equatable {
    public var path: String?
    public init(path: String? = nil) { self.path = path }
}

/// One change. They come in the order in which they happened; several changes of one file within a moment are one.
public struct FileWatchEvent: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable {
        case created, modified, deleted, moved
        /// Not everything can be told: look at all of it again.
        case rescan
    }

    public var kind: Kind
    /// Relative to `/workspace`; of a move, the new name; of a rescan, what was watched.
    public var path: String
    /// The old name of a move.
    public var from: String?
    public var isDirectory: Bool
    /// Why a rescan is needed.
    public var reason: String?

    public init(kind: Kind, path: String, from: String? = nil, isDirectory: Bool = false, reason: String? = nil) {
        self.kind = kind
        self.path = path
        self.from = from
        self.isDirectory = isDirectory
        self.reason = reason
    }
}

/// What a node sends: changes that happened at about the same time.
public struct FileWatchBatch: Codable, Sendable, Equatable {
    public var events: [FileWatchEvent]
    public init(events: [FileWatchEvent]) { self.events = events }
}
