extension HostileAttack {
    static let forkBomb = HostileAttack(
        testDescription: "fork bomb", script: "bomb() { bomb | bomb & bomb; }; bomb"
    ) { scene in scene.highest(["pids.current"]) >= 500 }
}
