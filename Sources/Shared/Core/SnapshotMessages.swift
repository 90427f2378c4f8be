public import FoundationEssentials

/// Asks for a project's workspace as an archive.
public struct SnapshotRead: Codable, Sendable, Equatable {
    public init() {}
}

/// What is known before the first byte.
public struct SnapshotHead: Codable, Sendable, Equatable {
    /// There is nothing in the workspace: its archive need not be kept.
    public var isEmpty: Bool

    public init(isEmpty: Bool) { self.isEmpty = isEmpty }
}

/// What an archive holds, as who made it has counted.
public struct SnapshotFacts: Codable, Sendable, Equatable {
    /// Files, directories and links, the workspace's own directory included.
    public var entries: Int
    /// Bytes of the files.
    public var contentBytes: Int64
    /// Bytes of the compressed archive, and their sha256.
    public var archiveBytes: Int64
    public var sha256: String
    /// Files that changed or vanished while they were read.
    public var changedFiles: Int
    /// FIFOs, sockets and devices, which are not kept.
    public var skipped: Int
    /// Nothing in the tree changed while it was read.
    public var isConsistent: Bool
    /// Of the tree as it is on its node, when it is consistent: a node that is asked later tells by it whether anything has changed.
    public var fingerprint: String?

    public init(
        entries: Int, contentBytes: Int64, archiveBytes: Int64, sha256: String, changedFiles: Int, skipped: Int,
        isConsistent: Bool, fingerprint: String? = nil
    ) {
        self.fingerprint = fingerprint
        self.entries = entries
        self.contentBytes = contentBytes
        self.archiveBytes = archiveBytes
        self.sha256 = sha256
        self.changedFiles = changedFiles
        self.skipped = skipped
        self.isConsistent = isConsistent
    }
}

/// Replaces a workspace's content with an archive that `snapshot.read` made. Nothing changes before all of it is there and is what
/// it should be.
public struct SnapshotRestore: Codable, Sendable, Equatable {
    public var entries: Int
    public var contentBytes: Int64
    public var archiveBytes: Int64
    public var sha256: String
    /// What is replaced is kept as this checkpoint; `nil` discards it.
    public var keepAs: CheckpointID?

    public init(entries: Int, contentBytes: Int64, archiveBytes: Int64, sha256: String, keepAs: CheckpointID?) {
        self.entries = entries
        self.contentBytes = contentBytes
        self.archiveBytes = archiveBytes
        self.sha256 = sha256
        self.keepAs = keepAs
    }
}

public struct SnapshotRestored: Codable, Sendable, Equatable {
    public var entries: Int
    public var contentBytes: Int64
    /// Where the old content is; `nil` when it was discarded, or when there was none.
    public var kept: CheckpointID?

    public init(entries: Int, contentBytes: Int64, kept: CheckpointID?) {
        self.entries = entries
        self.contentBytes = contentBytes
        self.kept = kept
    }
}

/// A copy of a workspace beside it, on its node.
public struct CheckpointInfo: Codable, Sendable, Equatable {
    public var id: CheckpointID
    public var createdAt: Date
    /// Why it was made, in the words of who asked.
    public var note: String
    /// What it holds; `nil` for content that was replaced and moved here without being counted.
    public var entries: Int?
    public var contentBytes: Int64?
    /// Files that changed or vanished while they were copied; `nil` like the counts.
    public var changedFiles: Int?

    public init(
        id: CheckpointID, createdAt: Date, note: String, entries: Int? = nil, contentBytes: Int64? = nil,
        changedFiles: Int? = nil
    ) {
        self.id = id
        self.createdAt = createdAt
        self.note = note
        self.entries = entries
        self.contentBytes = contentBytes
        self.changedFiles = changedFiles
    }
}

public struct CheckpointCreate: Codable, Sendable, Equatable {
    public var id: CheckpointID
    public var note: String

    public init(id: CheckpointID, note: String) {
        self.id = id
        self.note = note
    }
}

/// Replaces a workspace's content with a copy of a checkpoint, which stays.
public struct CheckpointRollback: Codable, Sendable, Equatable {
    public var id: CheckpointID
    /// What is replaced is kept as this checkpoint.
    public var keepAs: CheckpointID

    public init(id: CheckpointID, keepAs: CheckpointID) {
        self.id = id
        self.keepAs = keepAs
    }
}

/// Fills the workspace of a project, which must be new on this node, with what another one has.
public struct ProjectFork: Codable, Sendable, Equatable {
    public var source: ProjectID
    /// The source as it was then; its workspace as it is now otherwise.
    public var checkpoint: CheckpointID?
    public var target: ContainerSpec

    public init(source: ProjectID, checkpoint: CheckpointID?, target: ContainerSpec) {
        self.source = source
        self.checkpoint = checkpoint
        self.target = target
    }
}

public struct CheckpointReference: Codable, Sendable, Equatable {
    public var id: CheckpointID
    public init(id: CheckpointID) { self.id = id }
}

/// Newest first.
public struct CheckpointListResult: Codable, Sendable, Equatable {
    public var checkpoints: [CheckpointInfo]
    public init(checkpoints: [CheckpointInfo]) { self.checkpoints = checkpoints }
}

/// What a copy of a tree has come to.
public struct TreeProgress: Codable, Sendable, Equatable {
    public var entries: Int
    public var contentBytes: Int64

    public init(entries: Int, contentBytes: Int64) {
        self.entries = entries
        self.contentBytes = contentBytes
    }
}

/// What became of it.
public struct TreeWorkResult: Codable, Sendable, Equatable {
    public var entries: Int
    public var contentBytes: Int64
    /// Files that changed or vanished while they were copied.
    public var changedFiles: Int
    /// FIFOs, sockets and devices, which are not copied.
    public var skipped: Int
    /// The checkpoint that was made: the copy, or what the copy replaced. `nil` when there was nothing to keep.
    public var checkpoint: CheckpointID?

    public init(
        entries: Int, contentBytes: Int64, changedFiles: Int, skipped: Int, checkpoint: CheckpointID? = nil
    ) {
        self.entries = entries
        self.contentBytes = contentBytes
        self.changedFiles = changedFiles
        self.skipped = skipped
        self.checkpoint = checkpoint
    }
}

/// How the copy of a tree goes on.
public enum TreeWorkEvent: Codable, Sendable, Equatable {
    case progress(TreeProgress)
    case finished(TreeWorkResult)
}
