import FastableCore

extension HostileAttack {
    /// More than is kept, from many processes on both streams, while nothing holds them back.
    static let logFlood = HostileAttack(
        testDescription: "log flood", script: "for n in 1 2 3 4; do yes & yes >&2 & done; wait",
        strikes: { try await $0.printedBytes() }, fullSwing: 2 * Limits.execOutputKeptBytes)
}
