extension HostileAttack {
    /// It grows until it is killed, again and again.
    static let memoryBomb = HostileAttack(
        testDescription: "memory bomb",
        script: "while :; do awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'; done",
        strikes: { scene in scene.highest(["memory.oom_control", "memory.events"], key: "oom_kill") })
}
