import Dispatch
import FastableCore
import Foundation
import Synchronization

/// What the end of this program means for the command that it follows.
enum Parting {
    case goesOn
    /// As for what runs in a terminal whose window is closed.
    case hangsUp
    /// It is asked to end, and killed when it does not.
    case ends
    case kills

    private static let hasBegun = Mutex(false)

    private func wish(_ exec: String) -> JSONValue? {
        switch self {
        case .goesOn: nil
        case .hangsUp: ["execId": .string(exec), "signal": "SIGHUP"]
        case .ends: ["execId": .string(exec), "graceSec": .integer(Int64(Limits.execCancelGraceSeconds))]
        case .kills: ["execId": .string(exec), "signal": "SIGKILL"]
        }
    }

    /// Ends this program, as soon as the controller has been told what that means.
    func leave(_ client: Client, _ exec: String, status: Int32) {
        TerminalMode.restore()
        Self.hasBegun.withLock { $0 = true }
        guard let wish = wish(exec) else { _exit(status) }
        // Also while a write to a terminal or pipe that nobody reads holds everything else up.
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(Limits.partingSeconds)) { _exit(status) }
        Task {
            _ = try? await client.run("shell.kill", wish)
            _exit(status)
        }
    }

    /// The same for who has nothing else to do.
    func leaveNow(_ client: Client, _ exec: String, status: Int32) async -> Never {
        leave(client, exec, status: status)
        await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
        _exit(status)
    }

    /// What this program had to say is out of date when it is leaving already: that ends it.
    static func finish() async {
        if hasBegun.withLock({ $0 }) { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }
    }
}

/// Ctrl-C: one interrupts the command, a second one soon after it means more. Pure.
struct InterruptCounter {
    private var last: ContinuousClock.Instant?

    /// `true` for a second one.
    mutating func interrupted(at now: ContinuousClock.Instant) -> Bool {
        defer { last = now }
        return last.map { now - $0 <= .seconds(Limits.secondInterruptSeconds) } ?? false
    }
}
