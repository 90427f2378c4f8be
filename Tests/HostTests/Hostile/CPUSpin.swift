extension HostileAttack {
    static let cpuSpin = HostileAttack(
        testDescription: "CPU spin", script: "for n in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait",
        // Periods of its quota in which it ran: whether it got all of one depends on what else the machine does.
        strikes: { $0.highest(["cpu.stat"], key: "nr_periods") }, fullSwing: 50
    ) { scene in scene.processes.count { HostFacts.isRunning($0) } >= 8 }
}
