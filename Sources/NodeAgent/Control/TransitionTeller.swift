import FastableCore
import Logging
import NodeSandbox

/// Tells the controller what changed, at once and again until it has kept it.
struct TransitionTeller: Sendable {
    let journal: TransitionJournal
    let logger: Logger

    /// Returns when its task is cancelled: with the link.
    func run(over link: ControllerCalls) async throws {
        // Before the journal is looked at, so that nothing falls between.
        var signals = journal.signals().makeAsyncIterator()
        var backoff = ReconnectBackoff()
        repeat {
            while let batch = journal.batch() {
                do {
                    _ = try await link.call(.transitions, batch, returning: Empty.self)
                    journal.confirm(batch)
                    backoff.connected()
                } catch {
                    // A lost link ends this task too. That the controller cannot store anything is no reason to lose the link.
                    try Task.checkCancellation()
                    logger.warning("Changes of containers wait for the controller.", metadata: ["cause": "\(error)"])
                    try await Task.sleep(for: backoff.nextPause(random: Double.random(in: 0..<1)))
                }
            }
        } while await signals.next() != nil
    }
}
