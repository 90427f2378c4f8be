extension HostileAttack {
    /// Reads more than it may keep in memory, again and again.
    static let cacheThrash = HostileAttack(
        testDescription: "page cache thrash",
        script: """
            dd if=/dev/zero of=/workspace/big bs=1M count=1200 2>/dev/null
            while :; do cat /workspace/big >/dev/null & cat /workspace/big >/dev/null; echo round; wait; done
            """,
        // Pages that it read once more since the kernel had to take them back.
        strikes: { $0.highest(["memory.stat"], key: "workingset_refault_file") }, fullSwing: 100_000)
}
