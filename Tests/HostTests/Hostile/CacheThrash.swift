extension HostileAttack {
    /// Reads more than it may keep in memory, again and again.
    static let cacheThrash = HostileAttack(
        testDescription: "page cache thrash",
        script: """
            dd if=/dev/zero of=/workspace/big bs=1M count=1200 2>/dev/null
            while :; do cat /workspace/big >/dev/null & cat /workspace/big >/dev/null; echo round; wait; done
            """,
        // Each time the kernel had to take back what was read before.
        strikes: { scene in
            guard try await scene.printedBytes() > 0 else { return 0 }
            return max(scene.highest(["memory.failcnt"]), scene.highest(["memory.events"], key: "max"))
        })
}
