extension HostileAttack {
    /// Again and again: shells that cannot fork any more end, and one of them around the bomb would be among them. awk goes on.
    static let forkBomb = HostileAttack(
        testDescription: "fork bomb",
        script: "awk 'BEGIN { while (1) system(\"bomb() { bomb | bomb & bomb; }; bomb 2>/dev/null\") }'",
        strikes: { $0.highest(["pids.events"], key: "max") }
    ) { scene in scene.highest(["pids.current"]) > 100 }
}
