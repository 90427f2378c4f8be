extension HostileAttack {
    /// Makes files until none can be made, and goes on to try.
    static let inodeExhaustion = HostileAttack(
        testDescription: "inode exhaustion",
        script: """
            while :; do
                i=$((i + 1)); touch /workspace/$i 2>/dev/null || { refused=$((refused + 1)); [ $((refused % 10)) != 0 ] || echo full; }
            done
            """,
        disk: SmallDisk.Size(megabytes: 1400, files: 20_000), strikes: { try await $0.printedBytes() }
    ) { scene in try scene.host.freeDisk().files < 100 }
}
