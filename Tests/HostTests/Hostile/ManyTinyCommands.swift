extension HostileAttack {
    /// Processes that live for a moment, as fast as they can be had, and commands that do nothing.
    static let manyTinyCommands = HostileAttack(
        testDescription: "many tiny commands",
        script: "echo up; while :; do /bin/true; done", clients: 1
    ) { scene in try await scene.hasPrinted("up") }
}
