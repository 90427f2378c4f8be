extension HostileAttack {
    /// Writes until nothing more can be written, and goes on to try.
    static let diskExhaustion = HostileAttack(
        testDescription: "disk exhaustion",
        script: "while :; do dd if=/dev/zero of=/workspace/big.$i bs=1M 2>/dev/null || echo full; i=$((i + 1)); done",
        disk: SmallDisk.Size(megabytes: 1400), strikes: { try await $0.printedBytes() }
    ) { scene in try scene.host.freeDisk().bytes < 2 << 20 }
}
