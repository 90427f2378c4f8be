public import FastableCore
import Glibc

/// New limits for a group whose processes go on. All of it blocks: taking memory back may last a moment.
extension CgroupTree {
    /// Sets the limits of a container's group, as its runtime did at the start, or none of them.
    ///
    /// - Throws: `conflict` with the numbers when the group uses more than that already, after what it can do without was taken
    ///   back; `Errno` when the group is gone or cannot be changed.
    public func change(_ group: String, from before: ResourceLimits, to limits: ResourceLimits) throws {
        if let running = number(in: group, "pids.current"), running > limits.pids, limits.pids < before.pids {
            throw Self.refusal("pids", inUse: running, asked: limits.pids)
        }
        // The only step that can be refused while the group is there.
        try changeMemory(of: group, to: limits.memoryBytes)
        do throws(Errno) { try changeShares(of: group, to: limits) } catch {
            try? changeShares(of: group, to: before)
            try? changeMemory(of: group, to: before.memoryBytes)
            throw error
        }
    }

    private func changeShares(of group: String, to limits: ResourceLimits) throws(Errno) {
        try setCPU(of: group, limits.cpus)
        let shares = Self.shares(limits.cpus)
        try set(group, "cpu.shares", "\(shares)", required: false)
        // The runtimes' own conversion, so that old and new containers compare.
        try set(group, "cpu.weight", "\(1 + (shares - 2) * 9999 / 262_142)", required: false)
        try set(group, "pids.max", "\(limits.pids)", required: true)
    }

    /// The weight of a group while there is not enough CPU for all.
    public static func shares(_ cpus: Double) -> Int { max(2, Int(cpus * 1024)) }

    private func changeMemory(of group: String, to bytes: Int) throws {
        do throws(Errno) {
            if mode == .v2 { try lowerSoftly(group, to: bytes) } else { try changeInVersion1(group, to: bytes) }
        } catch {
            guard error.number == EBUSY else { throw error }
            let file = mode == .v2 ? "memory.current" : "memory.usage_in_bytes"
            throw Self.refusal("memoryBytes", inUse: number(in: group, file) ?? bytes, asked: bytes)
        }
    }

    /// Version 2 ends processes of a group that has more than its new limit. So they are slowed down at it first, while the kernel takes
    /// back what it can; only when that was enough the limit is set.
    private func lowerSoftly(_ group: String, to bytes: Int) throws(Errno) {
        let limit = number(in: group, "memory.max") ?? Int.max
        if bytes < limit {
            try set(group, "memory.high", "\(bytes)", required: true)
        }
        defer { try? set(group, "memory.high", "max", required: false) }
        if bytes < limit, let current = number(in: group, "memory.current"), current > bytes { throw Errno(EBUSY) }
        try set(group, "memory.max", "\(bytes)", required: true)
    }

    /// Undoes what a daemon left that ended while it lowered a limit.
    public func endSlowing(of group: String) {
        if mode == .v2 { try? set(group, "memory.high", "max", required: false) }
    }

    private static let memoryAttempts = 5

    /// Version 1 refuses by itself. Memory together with swap must never have the smaller limit of the two.
    private func changeInVersion1(_ group: String, to bytes: Int) throws(Errno) {
        let (memory, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        let before = number(in: group, memory) ?? bytes
        let steps = bytes > before ? [both, memory] : [memory, both]
        for attempt in 0... {
            do throws(Errno) {
                try set(group, steps[0], "\(bytes)", required: steps[0] == memory)
                break
            } catch {
                // Cached files that wait for the disk are gone in a moment.
                guard error.number == EBUSY, attempt < Self.memoryAttempts else { throw error }
                usleep(20_000)
            }
        }
        do throws(Errno) { try set(group, steps[1], "\(bytes)", required: steps[1] == memory) } catch {
            try? set(group, steps[0], "\(before)", required: false)
            throw error
        }
    }

    /// The number in a file of a group, wherever its controller is; `nil` when there is none.
    func number(in group: String, _ file: String) -> Int? {
        for tree in limitingTrees {
            guard let opened = try? FileDescriptor(opening: "\(tree)/\(group)/\(file)", O_RDONLY),
                let bytes = try? opened.readAll(limit: 64)
            else { continue }
            return Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
        }
        return nil
    }

    private static func refusal(_ field: String, inUse: Int, asked: Int) -> FastableError {
        let what = field == "pids" ? "processes and threads" : "bytes of memory"
        return FastableError(
            .conflict,
            "The container uses \(inUse) \(what), so its limit cannot be \(asked). End something in it first, or stop the container. "
                + "No limit was changed.",
            details: ["field": .string(field), "inUse": .integer(Int64(inUse)), "asked": .integer(Int64(asked))])
    }
}
