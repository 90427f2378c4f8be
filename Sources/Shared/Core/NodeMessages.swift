public import FoundationEssentials

/// The version of the node link. One step apart works together, so that a fleet can be upgraded while it runs.
///
/// History:
/// - 1 (2026-11-21): first version. Containers, execs, files, trees, images, certificate renewal.
public enum LinkVersion {
    public static let current = 1
    public static let oldest = 1

    /// The version both ends speak, or `nil` when there is none.
    public static func negotiate(peerOldest: Int, peerCurrent: Int) -> Int? {
        let common = min(current, peerCurrent)
        return common >= max(oldest, peerOldest) && peerOldest <= peerCurrent ? common : nil
    }
}

/// What a stream of the link asks for. The name stands in the stream's opening message, so a new method needs no new frame.
public enum NodeMethod: String, Codable, Sendable, CaseIterable {
    /// First stream of a link, opened by the node: `NodeHello` → `NodeWelcome`.
    case hello = "node.hello"
    /// Opened by the node at two thirds of its certificate's life: `CertificateRequest` → `CertificateAnswer`.
    case renewCertificate = "certificate.renew"
    /// Opened by the node every few seconds: `NodeReport` → `NodeReportAnswer`.
    case report = "node.report"
    /// Opened by the node when containers changed: `TransitionBatch` → `Empty` once they are kept.
    case transitions = "node.transitions"

    /// `ContainerEnsure` → `ContainerStatus`, before which those who want it are told how far it is.
    case containerEnsure = "container.ensure"
    case containerStatus = "container.status"
    /// `ContainerSuspend` → `ContainerStatus`; `conflict` names what works in it.
    case containerSuspend = "container.suspend"
    /// `ProjectReference` → `ContainerStatus`. Wakes a suspended container and makes none.
    case containerResume = "container.resume"
    /// `ContainerStop` → `ContainerStatus`.
    case containerStop = "container.stop"
    /// `ProjectReference` → `ContainerExplanation`.
    case containerExplain = "container.explain"
    /// `ContainerKeepAwake` → `ContainerExplanation`.
    case containerKeepAwake = "container.keep_awake"
    /// `ContainerPolicy` → `Empty`.
    case containerPolicy = "container.policy"
    /// `ContainerLimits` → `ContainerStatus`; `conflict` when the container uses more already.
    case containerLimits = "container.limits"
    /// Makes the project's directories on the node, without a container: files can be used then.
    case projectPrepare = "project.prepare"
    case projectDelete = "project.delete"
    /// `ProjectRelease` → `Empty`; `conflict` when the project was used since, and nothing was removed then.
    case projectRelease = "project.release"
    /// `ProjectDeparture` → `SetAsideCopy`. The project's container ends, and its files are kept out of everybody's way.
    case projectSetAside = "project.set_aside"

    /// `ExecStart` → `ExecEvent` messages and data on channels 1 (stdout) and 2 (stderr).
    case execStart = "exec.start"
    /// `ExecAttach` → like `exec.start`, from given offsets.
    case execAttach = "exec.attach"
    case execStatus = "exec.status"
    /// `ExecKill` → `ExecKillReceipt`.
    case execKill = "exec.kill"
    /// `ExecQuery` → `[ExecStatus]`, without those that the node does not know.
    case execQuery = "exec.query"

    case fsRead = "fs.read"
    case fsWrite = "fs.write"
    case fsEdit = "fs.edit"
    case fsList = "fs.list"
    case fsGlob = "fs.glob"
    case fsGrep = "fs.grep"
    /// Like the two above, told as it is found: `FileSearchEvent` messages, of which `finished` is the last.
    case fsGlobStream = "fs.glob.stream"
    case fsGrepStream = "fs.grep.stream"
    case fsDelete = "fs.delete"
    case fsStat = "fs.stat"
    case fsMakeDirectory = "fs.mkdir"
    case fsMove = "fs.move"
    case fsCopy = "fs.copy"
    case fsChangeMode = "fs.chmod"
    /// `FileWatch` → `Empty` once all is watched, then `FileWatchBatch` messages until the controller ends the stream.
    case fsWatch = "fs.watch"
    /// Raw bytes of a file to the controller: `FileDownload` → `FileDownloadHead`, then data on channel 1.
    case fileDownload = "file.download"
    /// Raw bytes of a file to the node: `FileUpload`, then data on channel 0 and end → `FileWriteResult`.
    case fileUpload = "file.upload"
    /// A tar archive to the node, unpacked below a path: `TreePush`, data on channel 0, end → `TreeResult`.
    case treePush = "tree.push"
    /// A tree as a tar archive to the controller: `TreePull` → data on channel 1, end.
    case treePull = "tree.pull"

    /// The workspace as a compressed archive to the controller: `SnapshotRead` → `SnapshotHead`, data on channel 1, `SnapshotFacts`.
    case snapshotRead = "snapshot.read"
    /// Such an archive to the node, which replaces the workspace's content with it: `SnapshotRestore`, data on channel 0, end →
    /// `SnapshotRestored`.
    case snapshotRestore = "snapshot.restore"
    /// `CheckpointCreate` → `TreeWorkEvent` messages, of which `finished` is the last. So do the next two.
    case checkpointCreate = "checkpoint.create"
    case checkpointRollback = "checkpoint.rollback"
    /// `ProjectFork` → `TreeWorkEvent` messages: a new project with the content of another one of the same node.
    case projectFork = "project.fork"
    case checkpointList = "checkpoint.list"
    case checkpointRemove = "checkpoint.remove"

    case imageList = "image.list"
    case imageAdd = "image.add"
    case imageRemove = "image.remove"

    /// `KillOrder` → `KillAnswer`.
    case killApply = "kill.apply"
    /// `IdleSweep` → `IdleSweepResult`.
    case idleSweep = "idle.sweep"
}

/// One control message back: a value or an error. Exactly one closes each unary call.
public enum NodeReply<Value: Codable & Sendable>: Codable, Sendable {
    case success(Value)
    case failure(FastableError)

    enum CodingKeys: String, CodingKey { case ok, error }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        if let error = try fields.decodeIfPresent(FastableError.self, forKey: .error) {
            self = .failure(error)
        } else {
            self = .success(try fields.decode(Value.self, forKey: .ok))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .success(let value): try fields.encode(value, forKey: .ok)
        case .failure(let error): try fields.encode(error, forKey: .error)
        }
    }

    public func get() throws -> Value {
        switch self {
        case .success(let value): return value
        case .failure(let error): throw error
        }
    }
}

/// Nothing to say.
public struct Empty: Codable, Sendable, Equatable {
    public init() {}
}

/// Which cgroup tree the host has: it decides how limits are set.
public enum CgroupMode: String, Codable, Sendable { case v2, hybrid, v1 }

/// What a node says when it connects.
public struct NodeHello: Codable, Sendable {
    public var oldestVersion: Int
    public var currentVersion: Int
    /// Rises with every connection of this node and is kept on its disk: a lower one is an old link and is fenced.
    public var generation: UInt64
    public var facts: NodeFacts
    /// It ends containers by itself when its lease is over; a node of an earlier release does not.
    public var keepsLease: Bool?

    public init(generation: UInt64, facts: NodeFacts, keepsLease: Bool? = true) {
        self.keepsLease = keepsLease
        self.oldestVersion = LinkVersion.oldest
        self.currentVersion = LinkVersion.current
        self.generation = generation
        self.facts = facts
    }
}

/// What a node is: for placement and for `fastable node show`.
public struct NodeFacts: Codable, Sendable, Equatable {
    public var programVersion: String
    public var hostName: String
    public var kernel: String
    public var cgroup: CgroupMode
    /// The OCI runtime and its version: `runc 1.1.5`.
    public var runtime: String
    public var cpus: Int
    public var memoryBytes: Int
    public var diskBytes: Int
    public var diskFreeBytes: Int
    /// Files that can still be made, where the file system has a fixed number of them.
    public var diskFreeFiles: Int?
    /// A node of an earlier release does not tell.
    public var diskPressure: DiskPressure?
    public var diskReclaimed: DiskReclaimed?
    public var images: [String]
    /// Processes that it can have at a time; a node of an earlier release does not tell.
    public var pids: Int?
    /// From where images that it has, or had until its disk was full, can be pulled; a node of an earlier release does not tell.
    public var registryImages: [ImageReference]?

    public init(
        programVersion: String, hostName: String, kernel: String, cgroup: CgroupMode, runtime: String, cpus: Int,
        memoryBytes: Int, diskBytes: Int, diskFreeBytes: Int, diskFreeFiles: Int? = nil,
        diskPressure: DiskPressure? = nil, diskReclaimed: DiskReclaimed? = nil, images: [String], pids: Int? = nil,
        registryImages: [ImageReference]? = nil
    ) {
        self.registryImages = registryImages
        self.diskFreeFiles = diskFreeFiles
        self.diskPressure = diskPressure
        self.diskReclaimed = diskReclaimed
        self.pids = pids
        self.programVersion = programVersion
        self.hostName = hostName
        self.kernel = kernel
        self.cgroup = cgroup
        self.runtime = runtime
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
        self.diskFreeBytes = diskFreeBytes
        self.images = images
    }
}

public struct NodeWelcome: Codable, Sendable {
    public var version: Int
    public var nodeID: NodeID
    /// Put in force before anything else is served; a controller of the first release does not send it.
    public var switches: KillSwitchSet?
    /// Set aside before anything else is served: other nodes have them by now.
    public var departed: [ProjectDeparture]?
    public var lease: NodeLease?

    public init(
        version: Int, nodeID: NodeID, switches: KillSwitchSet? = nil, departed: [ProjectDeparture]? = nil,
        lease: NodeLease? = nil
    ) {
        self.departed = departed
        self.lease = lease
        self.version = version
        self.nodeID = nodeID
        self.switches = switches
    }
}

/// Sent by the node every few seconds.
public struct NodeReport: Codable, Sendable {
    public var facts: NodeFacts
    public var containers: [ContainerStatus]
    /// These containers come on top of those of the part before; otherwise they are all, or the first part.
    public var continues: Bool
    /// Another part follows: the report counts when the last one is there.
    public var isIncomplete: Bool
    public var switches: NodeSwitchState?
    /// A node of an earlier release does not tell.
    public var starts: StartLoad?

    public init(
        facts: NodeFacts, containers: [ContainerStatus], continues: Bool = false, isIncomplete: Bool = false,
        switches: NodeSwitchState? = nil, starts: StartLoad? = nil
    ) {
        self.starts = starts
        self.switches = switches
        self.facts = facts
        self.containers = containers
        self.continues = continues
        self.isIncomplete = isIncomplete
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            facts: try fields.decode(NodeFacts.self, forKey: .facts),
            containers: try fields.decode([ContainerStatus].self, forKey: .containers),
            continues: try fields.decode(Bool.self, forKey: .continues),
            // A node of the first release does not tell.
            isIncomplete: try fields.decodeIfPresent(Bool.self, forKey: .isIncomplete) ?? false,
            switches: try fields.decodeIfPresent(NodeSwitchState.self, forKey: .switches),
            starts: try fields.decodeIfPresent(StartLoad.self, forKey: .starts))
    }
}

public struct CertificateRequest: Codable, Sendable {
    /// PEM of the signing request.
    public var signingRequest: String
    public init(signingRequest: String) { self.signingRequest = signingRequest }
}

public struct CertificateAnswer: Codable, Sendable {
    /// PEM of the certificate.
    public var certificate: String
    /// PEM of the authority's certificate.
    public var authority: String
    public init(certificate: String, authority: String) {
        self.certificate = certificate
        self.authority = authority
    }
}

/// An image that a node can start containers from.
public struct ImageInfo: Codable, Sendable, Equatable {
    public var name: String
    /// Where it came from: a directory, an OCI directory, a registry reference.
    public var source: String
    public var sizeBytes: Int
    public var addedAt: Date
    /// Of the registry's manifest: what names these bytes there, whatever a tag stands for by now.
    public var digest: String?
    /// When somebody gave the name this content, on a node that had it first; absent there.
    public var namedAt: Date?

    public init(
        name: String, source: String, sizeBytes: Int, addedAt: Date, digest: String? = nil, namedAt: Date? = nil
    ) {
        self.digest = digest
        self.namedAt = namedAt
        self.name = name
        self.source = source
        self.sizeBytes = sizeBytes
        self.addedAt = addedAt
    }
}

public struct ImageAdd: Codable, Sendable {
    public var name: String
    /// `dir:/path/to/rootfs`, `oci:/path/to/layout[:tag]` or `docker://registry/name:tag`.
    public var source: String
    public init(name: String, source: String) {
        self.name = name
        self.source = source
    }
}

public struct ImageName: Codable, Sendable {
    public var name: String
    public init(name: String) { self.name = name }
}

public struct ImageListResult: Codable, Sendable {
    public var images: [ImageInfo]
    public init(images: [ImageInfo]) { self.images = images }
}
