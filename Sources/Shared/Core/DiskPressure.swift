/// How short the disk of a node is of space, from nothing to worst. Each level does what the ones before it do.
public enum DiskPressure: String, Codable, Sendable, CaseIterable, Comparable {
    case none
    /// Operators are told.
    case low
    /// What can be had again is dropped, and the node gets no new project.
    case reclaiming
    /// No container is started, no project and no image is taken.
    case refusing

    public static func < (left: DiskPressure, right: DiskPressure) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .none: 0
        case .low: 1
        case .reclaiming: 2
        case .refusing: 3
        }
    }
}

/// Where the levels begin: shares of the disk, and of the files that it can hold, that are free.
public struct DiskPressurePercents: Sendable, Equatable {
    public var low: Int
    public var reclaiming: Int
    public var refusing: Int

    public init(
        low: Int = Limits.diskLowPercent, reclaiming: Int = Limits.diskReclaimPercent,
        refusing: Int = Limits.diskRefusePercent
    ) {
        self.low = low
        self.reclaiming = reclaiming
        self.refusing = refusing
    }

    public var isOrdered: Bool { refusing <= reclaiming && reclaiming <= low }
}

/// What a node has dropped for want of space since its daemon was started.
public struct DiskReclaimed: Codable, Sendable, Equatable {
    /// The last of them, by name.
    public var images: [String]
    /// How many caches of projects.
    public var caches: Int

    public init(images: [String] = [], caches: Int = 0) {
        self.images = images
        self.caches = caches
    }
}
