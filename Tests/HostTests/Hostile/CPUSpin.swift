extension HostileAttack {
    static let cpuSpin = HostileAttack(
        testDescription: "CPU spin", script: "for n in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait"
    ) { scene in scene.highest(["cpu.stat"], key: "nr_throttled") > 5 }
}
