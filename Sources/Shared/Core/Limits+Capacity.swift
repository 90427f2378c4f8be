/// How much is promised, and how fast it is given.
extension Limits {
    /// The limits of a node's awake containers may add up to so many times what it has: few reach theirs at once.
    public static let memoryOvercommit = 4.0
    /// CPUs are shared by time, and only become slower.
    public static let cpuOvercommit = 32.0
    public static let pidOvercommit = 4.0
    /// The same for the disks of its projects, awake or not.
    public static let diskOvercommit = 1.5
    public static let overcommitHighest = 1000.0
    /// Sum of the process limits on a node that does not tell how many processes it can have.
    public static let placementPIDsPerNode = 2_000_000
    /// When somebody whose container has no room on its node may ask again.
    public static let roomRetrySeconds = 15

    /// Containers that a node starts at a time. Waking one that stands still is cheap, and does not wait.
    public static let startsAtOnce = 8
    public static let startsAtOnceHighest = 256
    /// How many it begins in a minute at most. All that may wait get their turn in time at this pace.
    public static let startsPerMinute = 600
    public static let startsPerMinuteHighest = 60_000
    /// After a quiet while so much of the pace may begin at once.
    public static let startBurstSeconds = 10
    /// Starts that wait for their turn on a node; more are refused.
    public static let startsWaiting = 512
    /// A start whose turn does not come in this time is refused.
    public static let startQueueSeconds = 60
    /// How often a node looks at its memory while starts wait.
    public static let startLookMilliseconds = 500
    /// So much of a container's memory limit must be available on the host when it is started.
    public static let startMemoryShare = 0.25
    public static let startRetrySeconds = 10

    /// Ceilings of a workspace's quota.
    public static let quotaContainersHighest = 1_000_000
    public static let quotaCPUsHighest = 1_000_000.0
    public static let quotaBytesHighest = 1 << 60
    /// When somebody may ask again while nodes have not told yet what runs on them.
    public static let reportRetrySeconds = 1
}
