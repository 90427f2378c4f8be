/// What one container may use. Zero and negative values are refused by `validated`.
public struct ResourceLimits: Codable, Sendable, Equatable {
    /// CPU time per wall time; 1 is one core.
    public var cpus: Double
    public var memoryBytes: Int
    public var pids: Int
    /// The size of its disk; that of its node's standard unless given.
    public var diskBytes: Int?

    public init(
        cpus: Double = Limits.containerCPUs, memoryBytes: Int = Limits.containerMemoryBytes,
        pids: Int = Limits.containerPIDs, diskBytes: Int? = nil
    ) {
        self.diskBytes = diskBytes
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.pids = pids
    }

    /// The same limits, or `invalid` naming the field that is out of range.
    public func validated() throws -> ResourceLimits {
        let mostCPUs = Limits.containerCPUsHighest
        try Self.check(cpus >= 0.05 && cpus <= mostCPUs, "cpus", "0.05 to \(mostCPUs)")
        let megabyte = 1024 * 1024
        try Self.check(
            memoryBytes >= 32 * megabyte && memoryBytes <= Limits.containerMemoryBytesHighest, "memoryBytes",
            "\(32 * megabyte) to \(Limits.containerMemoryBytesHighest)")
        let mostPIDs = Limits.containerPIDsHighest
        try Self.check(pids >= 16 && pids <= mostPIDs, "pids", "16 to \(mostPIDs)")
        if let diskBytes {
            let range = Limits.projectDiskBytesLeast...Limits.containerDiskBytesHighest
            try Self.check(range.contains(diskBytes), "diskBytes", "\(range.lowerBound) to \(range.upperBound)")
        }
        return self
    }

    private static func check(_ fits: Bool, _ field: String, _ range: String) throws {
        guard !fits else { return }
        throw FastableError(
            .unprocessable, "The limit ‘\(field)’ must be in the range \(range).", details: ["field": .string(field)])
    }
}
