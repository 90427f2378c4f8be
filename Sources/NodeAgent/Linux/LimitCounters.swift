import Glibc

/// How often a group came to its limits since it was made.
public struct LimitCounts: Sendable, Equatable {
    /// Processes that the kernel ended because there was no memory.
    public var memory: UInt64
    /// Processes and threads that were not started.
    public var pids: UInt64

    public init(memory: UInt64 = 0, pids: UInt64 = 0) {
        self.memory = memory
        self.pids = pids
    }
}

/// The kernel's counters of one group, held open: asking them takes some microseconds and does not block. Each command does at its start.
public final class LimitCounters: Sendable {
    private let memory: CInt
    private let pids: CInt

    /// Takes over the files; negative where the kernel has none.
    package init(memory: CInt, pids: CInt) {
        self.memory = memory
        self.pids = pids
    }

    deinit { for file in [memory, pids] where file >= 0 { close(file) } }

    /// What cannot be told, since the kernel has no counter or the group is gone, is 0.
    public var counts: LimitCounts {
        LimitCounts(memory: Self.value("oom_kill ", in: memory), pids: Self.value("max ", in: pids))
    }

    private static func value(_ name: StaticString, in file: CInt) -> UInt64 {
        guard file >= 0 else { return 0 }
        let wanted = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        return withUnsafeTemporaryAllocation(byteCount: 512, alignment: 1) { buffer in
            let count = pread(file, buffer.baseAddress, buffer.count, 0)
            guard count > 0 else { return 0 }
            var lines = buffer[..<count]
            while !lines.isEmpty {
                if lines.starts(with: wanted) { return number(lines.dropFirst(wanted.count)) }
                lines = lines.drop { $0 != UInt8(ascii: "\n") }.dropFirst()
            }
            return 0
        }
    }

    private static func number(_ text: Slice<UnsafeMutableRawBufferPointer>) -> UInt64 {
        text.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            .reduce(0) { $0 &* 10 &+ UInt64($1 - UInt8(ascii: "0")) }
    }
}

extension CgroupTree {
    /// The counters of a group that exists, as far as the host has them.
    public func limitCounters(of group: String) -> LimitCounters {
        func file(_ names: [String]) -> CInt {
            for tree in limitingTrees {
                for name in names {
                    let number = Glibc.open("\(tree)/\(group)/\(name)", O_RDONLY | O_CLOEXEC)
                    if number >= 0 { return number }
                }
            }
            return -1
        }
        return LimitCounters(memory: file(["memory.events", "memory.oom_control"]), pids: file(["pids.events"]))
    }
}
