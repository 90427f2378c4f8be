extension HostileAttack {
    /// Again and again: shells that cannot fork any more end.
    static let forkBomb = HostileAttack(
        testDescription: "fork bomb",
        script: "while :; do sh -c 'bomb() { bomb | bomb & bomb; }; bomb' 2>/dev/null; done",
        strikes: { $0.highest(["pids.events"], key: "max") }
    ) { scene in scene.highest(["pids.current"]) > 100 }
}
