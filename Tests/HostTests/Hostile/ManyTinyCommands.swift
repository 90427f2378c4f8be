extension HostileAttack {
    /// Processes that live for a moment, as fast as they can be had, and clients that run commands which do nothing.
    static let manyTinyCommands = HostileAttack(
        testDescription: "many tiny commands",
        script: "while :; do for n in 1 2 3 4 5 6 7 8 9; do /bin/true; done; echo more; done", clients: 2,
        strikes: { scene in
            // Both go on.
            min(scene.commands.count, try await scene.printedBytes())
        }, fullSwing: 10)
}
