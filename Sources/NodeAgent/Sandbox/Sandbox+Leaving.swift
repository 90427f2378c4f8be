import FastableCore
import Logging

/// Ending a container that goes elsewhere.
extension Sandbox {
    /// Ends the container unless something works in it.
    ///
    /// - Throws: `conflict` naming what does, or `unavailable` when somebody needed it meanwhile; it goes on then.
    func stopUnlessWorking(reason: String) async throws {
        try checkNotDeleted()
        guard activity.fileUsesAtRest != nil else {
            throw FastableError(.conflict, "Its files are being used.", retryAfterSeconds: 1)
        }
        // What is being made is wanted by somebody.
        guard beingMade == nil else { throw Self.isNeeded }
        // Standing still it begins no work, and whoever needs it wakes it first.
        try await suspend(reason: reason) { [activity] in
            activity.refusal(at: .now) { "Its container is kept awake by \($0)." }
        }
        switch machine.state {
        case .suspended:
            guard closesIfNothingRuns() else { throw Self.isNeeded }
            beginStop(reason: reason)
        case .absent, .stopping, .stopped, .failed: break
        case .creating, .running, .suspending, .resuming, .deleting: throw Self.isNeeded
        }
        await endOfRemoval()
        if machine.container != nil { throw Self.isNeeded }
    }

    /// Whoever begins a command of a container that sleeps registers it first, and then asks to be let in here, to wake it: what was
    /// registered by now is seen, and who comes later starts it in the next container. No step may come between this and `beginStop`.
    func closesIfNothingRuns() -> Bool {
        // Commands that somebody had stand still in the middle of their work are meant as well.
        running?.container.map { activity.closes($0.execs, besides: frozenCommands) } ?? true
    }

    /// Asks all commands to end, ends what is left after a while, and cuts off whoever uses the files.
    func stopWithGrace(reason: String) async {
        isEnding = true
        defer { isEnding = false }
        activity.cutFiles()
        let grace = Duration.seconds(Limits.drainGraceSeconds)
        if let execs = running?.container?.execs, !activity.isAsleep {
            await withTaskGroup(of: Void.self) { group in
                // Dev servers, too.
                for exec in execs.runningCommands {
                    group.addTask { _ = try? await execs.end(exec, signal: 15, grace: grace) }
                }
            }
        }
        await stopAsked(reason: reason)
        // Those who came while the commands ended.
        activity.cutFiles()
    }

    private static let isNeeded = FastableError(
        .conflict, "The container was not stopped: somebody needs it just now.", retryAfterSeconds: 1)
}
