extension HostileAttack {
    /// Processes that have ended and that nobody collects.
    static let zombieStorm = HostileAttack(
        testDescription: "zombie storm",
        script:
            "for n in $(seq 450); do (exit 0) & done; echo up; while :; do (exec sleep 0.01) & (exit 0) & done; exec sleep 1000"
    ) { scene in try await scene.hasPrinted("up") }
}
