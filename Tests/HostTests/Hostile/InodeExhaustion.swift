extension HostileAttack {
    static let inodeExhaustion = HostileAttack(
        testDescription: "inode exhaustion",
        script: "while :; do i=$((i + 1)); touch /workspace/$i 2>/dev/null || { echo full; sleep 0.1; }; done",
        disk: SmallDisk.Size(megabytes: 1400, files: 20_000)
    ) { scene in try await scene.hasPrinted("full") }
}
