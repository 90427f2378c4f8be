public import FoundationEssentials

/// Changes what a container may use while it runs. Answered with its status; `conflict`, with the numbers, when it uses more already:
/// nothing has changed then.
public struct ContainerLimits: Codable, Sendable {
    public var project: ProjectID
    public var limits: ResourceLimits
    /// See `ContainerSpec`.
    public var revision: Int
    public init(project: ProjectID, limits: ResourceLimits, revision: Int) {
        self.project = project
        self.limits = limits
        self.revision = revision
    }
}

/// A limit of a container that was reached.
public struct LimitHit: Codable, Sendable, Equatable {
    public enum Limit: String, Codable, Sendable, CaseIterable {
        /// The kernel ended a process, because there was no memory for it.
        case memory
        /// A process or thread could not be started.
        case pids
        /// There was no space for more data, or for more files.
        case disk
    }

    public var limit: Limit
    /// How much there was of it.
    public var limitBytes: Int?
    public var limitCount: Int?
    /// The name of the process that was ended. It gave itself that name: it is text of a stranger, printable and short.
    public var process: String?

    public init(_ limit: Limit, limitBytes: Int? = nil, limitCount: Int? = nil, process: String? = nil) {
        self.limit = limit
        self.limitBytes = limitBytes
        self.limitCount = limitCount
        self.process = process
    }

    /// For people.
    public var text: String {
        switch limit {
        case .memory:
            let victim = process.map { "‘\($0)’" } ?? "a process"
            guard let limitBytes else { return "The host had no memory left, and the kernel ended \(victim)." }
            return "The container came to its memory limit of \(limitBytes >> 20) MiB, and the kernel ended \(victim)."
        case .pids:
            let count = limitCount.map { " of \($0)" } ?? ""
            return "The container came to its limit\(count) processes and threads, and no further one was started."
        case .disk:
            let size = limitBytes.map { " of \($0 >> 20) MiB" } ?? ""
            return "The disk\(size) that the container writes to is full."
        }
    }
}

/// How often a container came to one of its limits, and the last time that it did.
public struct LimitTally: Codable, Sendable, Equatable {
    public var hit: LimitHit
    /// How often since the container was started, as the kernel counts it.
    public var count: Int
    public var at: Date

    public init(hit: LimitHit, count: Int, at: Date) {
        self.hit = hit
        self.count = count
        self.at = at
    }
}
