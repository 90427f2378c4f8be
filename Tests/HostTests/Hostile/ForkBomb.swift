extension HostileAttack {
    /// Again and again: shells that cannot fork any more end.
    static let forkBomb = HostileAttack(
        testDescription: "fork bomb",
        script: "while :; do sh -c 'bomb() { bomb | bomb & bomb; }; bomb' 2>/dev/null; done"
    ) { scene in scene.highest(["pids.events"], key: "max") > 0 }
}
