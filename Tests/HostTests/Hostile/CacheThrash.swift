extension HostileAttack {
    /// Reads more than it may keep in memory, again and again.
    static let cacheThrash = HostileAttack(
        testDescription: "page cache thrash",
        script: """
            dd if=/dev/zero of=/workspace/big bs=1M count=1200 2>/dev/null; echo thrash
            while :; do cat /workspace/big >/dev/null & cat /workspace/big >/dev/null; done
            """
    ) { scene in try await scene.hasPrinted("thrash") }
}
