/// Whether a follower of a command that lost its connection connects again, and when. Pure; time comes as a parameter.
package struct Reattachment {
    package typealias Instant = ContinuousClock.Instant

    package static let patience = Duration.seconds(60)
    private static let firstPause = Duration.milliseconds(50)
    private static let longestPause = Duration.seconds(2)
    /// A connection that held so long was a good one.
    private static let settled = Duration.seconds(5)

    package static let lost = FastableError(
        .unavailable,
        "The connection to the controller was lost; the command goes on. Attach to it again: fastable attach EXEC")

    private var hasAttached = false
    private var since: Instant?
    private var pause = firstPause

    package init() {}

    /// How long to wait before the next attempt; `nil` when there is none. `attachedFor` is present when the last one reached the
    /// command: the patience begins anew then, also when nothing was printed meanwhile.
    package mutating func pause(
        after code: FastableError.Code, attachedFor: Duration?, now: Instant
    ) -> Duration? {
        if let attachedFor {
            hasAttached = true
            since = now
            if attachedFor >= Self.settled { pause = Self.firstPause }
        }
        // A connection counts until the controller has noticed that it is lost.
        guard code == .unavailable || code == .limit && hasAttached else { return nil }
        let began = since ?? now
        since = began
        guard now - began < Self.patience else { return nil }
        defer { pause = min(pause * 2, Self.longestPause) }
        return pause
    }

    /// What it means that the controller closed the WebSocket: codes that say what this end did wrong would come again.
    package static func failure(closeCode code: UInt16?, reason: String) -> FastableError {
        guard let code, [1002, 1003, 1007, 1008, 1009].contains(code) else { return lost }
        return FastableError(
            .invalid,
            "The controller ended the connection (WebSocket close \(code))\(reason.isEmpty ? "." : ": \(reason)") "
                + "The command goes on.")
    }
}
