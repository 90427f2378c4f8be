public import FastableCore
public import FoundationEssentials

/// One archive of a project's workspace in the controller's store. It exists once it was read back and found whole.
public struct Snapshot: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable {
        /// It was read back from the disk, expanded and counted, and was what the node had sent.
        case verified
        /// It was found to be something else since; it restores nothing.
        case damaged
    }

    /// Why it was taken.
    public enum Reason: String, Sendable, CaseIterable {
        /// Somebody asked for it.
        case manual
        case delete
        case archive
        case drain
        case image
    }

    public var id: SnapshotID
    public var workspace: WorkspaceID
    public var project: ProjectID
    /// As it was called then.
    public var projectName: String
    public var node: NodeID
    public var image: String
    public var createdAt: Date
    public var reason: Reason
    public var facts: SnapshotFacts
    public var state: State
    /// When it goes by itself: some time after its project was deleted.
    public var expiresAt: Date?

    public init(
        id: SnapshotID, workspace: WorkspaceID, project: ProjectID, projectName: String, node: NodeID, image: String,
        createdAt: Date, reason: Reason, facts: SnapshotFacts, state: State = .verified, expiresAt: Date? = nil
    ) {
        self.id = id
        self.workspace = workspace
        self.project = project
        self.projectName = projectName
        self.node = node
        self.image = image
        self.createdAt = createdAt
        self.reason = reason
        self.facts = facts
        self.state = state
        self.expiresAt = expiresAt
    }

    /// When the snapshots of a project go that is deleted now.
    public static func expiry(ofProjectDeletedAt moment: Date) -> Date {
        moment.addingTimeInterval(Double(Limits.deletedProjectSnapshotDays) * 24 * 3600)
    }
}

/// Which snapshots of a project are kept.
public enum SnapshotRetention {
    /// Those that go: of the ones that were asked for, and of the others, all but the newest. A damaged one takes no place of a good
    /// one, and stays only as long as a good one of its age would.
    ///
    /// - Parameter held: an archived project's content, which stays whatever its age.
    public static func surplus(of snapshots: [Snapshot], holding held: SnapshotID? = nil) -> [Snapshot] {
        let newestFirst = snapshots.filter { $0.id != held }.sorted {
            ($0.createdAt, $0.id) > ($1.createdAt, $1.id)
        }
        let manual = newestFirst.filter { $0.reason == .manual }
        let automatic = newestFirst.filter { $0.reason != .manual }
        return surplus(manual, Limits.snapshotsKeptManual) + surplus(automatic, Limits.snapshotsKeptAutomatic)
    }

    private static func surplus(_ newestFirst: [Snapshot], _ kept: Int) -> [Snapshot] {
        var verified = 0
        var total = 0
        return newestFirst.filter { snapshot in
            total += 1
            if snapshot.state == .verified { verified += 1 }
            return snapshot.state == .verified ? verified > kept : total > kept
        }
    }
}
