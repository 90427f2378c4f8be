extension HostileAttack {
    static let diskExhaustion = HostileAttack(
        testDescription: "disk exhaustion",
        script:
            "while :; do dd if=/dev/zero of=/workspace/big.$i bs=1M 2>/dev/null; echo full; i=$((i + 1)); sleep 0.1; done",
        disk: SmallDisk.Size(megabytes: 1400)
    ) { scene in try await scene.hasPrinted("full") }
}
