public import FastableCore

/// How much a workspace may have; what is `nil` has no bound.
public struct WorkspaceQuota: Codable, Sendable, Equatable {
    /// Containers that are awake at a time, and the sums of what they may use.
    public var containers: Int?
    public var cpus: Double?
    public var memoryBytes: Int?
    /// Sum of the disks of its projects, whether they are used or not. Each new project must have a disk of its own then.
    public var diskBytes: Int?

    public init(containers: Int? = nil, cpus: Double? = nil, memoryBytes: Int? = nil, diskBytes: Int? = nil) {
        self.containers = containers
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
    }

    /// Something of it is about containers that are awake.
    public var boundsAwake: Bool { containers != nil || cpus != nil || memoryBytes != nil }

    /// The same quota, or `unprocessable` naming the field that is out of range.
    public func validated() throws -> WorkspaceQuota {
        let fields = [
            ("containers", containers.map { (0...Limits.quotaContainersHighest).contains($0) }),
            ("cpus", cpus.map { (0...Limits.quotaCPUsHighest).contains($0) }),
            ("memoryBytes", memoryBytes.map { (0...Limits.quotaBytesHighest).contains($0) }),
            ("diskBytes", diskBytes.map { (0...Limits.quotaBytesHighest).contains($0) }),
        ]
        for (field, fits) in fields where fits == false {
            throw FastableError(
                .unprocessable, "The quota ‘\(field)’ is out of range.", details: ["field": .string(field)])
        }
        return self
    }

    /// Throws `limit` naming the quota that one more awake container would exceed.
    ///
    /// - Parameter used: by all others.
    public func check(_ limits: ResourceLimits, besides used: WorkspaceUsage) throws(FastableError) {
        if let containers, used.containers + 1 > containers {
            throw Self.exceeded(
                "containers", "may have \(containers) containers awake, and has \(used.containers)",
                (.integer(Int64(used.containers)), .integer(Int64(containers)), 1), canWait: containers > 0)
        }
        if let cpus, used.cpus + limits.cpus > cpus {
            let (has, needs) = (Words.decimal(used.cpus, places: 2), Words.decimal(limits.cpus, places: 2))
            throw Self.exceeded(
                "cpus",
                "may have \(Words.decimal(cpus, places: 2)) CPUs for containers that are awake; \(has) are taken, and \(needs) more are needed",
                (.number(used.cpus), .number(cpus), .number(limits.cpus)), canWait: limits.cpus <= cpus)
        }
        if let memoryBytes, used.memoryBytes + limits.memoryBytes > memoryBytes {
            let (has, needs) = (Words.bytes(Double(used.memoryBytes)), Words.bytes(Double(limits.memoryBytes)))
            throw Self.exceeded(
                "memoryBytes",
                "may have \(Words.bytes(Double(memoryBytes))) of memory for containers that are awake; \(has) are taken, and \(needs) more "
                    + "are needed",
                (.integer(Int64(used.memoryBytes)), .integer(Int64(memoryBytes)), .integer(Int64(limits.memoryBytes))),
                canWait: limits.memoryBytes <= memoryBytes)
        }
    }

    /// Throws when a project's disk would be more than its workspace may have.
    ///
    /// - Parameters:
    ///   - used: the sum of all others.
    ///   - disk: `nil` when it has none of its own, and fills its node's as far as it likes.
    public func check(disk: Int?, besides used: Int) throws(FastableError) {
        guard let diskBytes else { return }
        guard let disk else {
            throw FastableError(
                .unprocessable,
                "The workspace has a quota of disk, so each new project must have a disk of its own. Give ‘limits.diskBytes’, or set what "
                    + "new projects get: `fastable container limits --workspace --disk SIZE`.",
                details: ["field": "limits.diskBytes"])
        }
        guard used + disk > diskBytes else { return }
        throw FastableError(
            .limit,
            "The workspace's quota is exceeded: it may have \(Words.bytes(Double(diskBytes))) of disk, its projects have "
                + "\(Words.bytes(Double(used))), and \(Words.bytes(Double(disk))) are asked for. Delete projects, make disks smaller, or ask "
                + "an operator for more. `fastable workspace usage` shows all of it.",
            details: [
                "quota": "diskBytes", "used": .integer(Int64(used)), "allowed": .integer(Int64(diskBytes)),
                "needed": .integer(Int64(disk)),
            ])
    }

    private static func exceeded(
        _ quota: String, _ what: String, _ numbers: (used: JSONValue, allowed: JSONValue, needed: JSONValue),
        canWait: Bool
    ) -> FastableError {
        let advice =
            canWait
            ? "Suspend or stop a container, or wait until an idle one is suspended"
            : "That is less than this container needs: lower its limits"
        return FastableError(
            .limit,
            "The workspace's quota is exceeded: it \(what). \(advice), or ask an operator for more. `fastable workspace usage` shows all of "
                + "it.",
            details: [
                "quota": .string(quota), "used": numbers.used, "allowed": numbers.allowed, "needed": numbers.needed,
            ],
            retryAfterSeconds: canWait ? Limits.roomRetrySeconds : nil)
    }
}

/// How much a workspace has.
public struct WorkspaceUsage: Sendable, Equatable {
    public var containers: Int
    public var cpus: Double
    public var memoryBytes: Int
    public var diskBytes: Int
    /// Projects that have no disk of their own: nothing bounds them.
    public var projectsWithoutDisk: Int

    public init(
        containers: Int = 0, cpus: Double = 0, memoryBytes: Int = 0, diskBytes: Int = 0, projectsWithoutDisk: Int = 0
    ) {
        self.containers = containers
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
        self.projectsWithoutDisk = projectsWithoutDisk
    }
}
