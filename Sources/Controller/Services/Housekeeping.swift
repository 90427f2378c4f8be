import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging

/// Forgets what has served its time. It takes no input but what is stored, so any round may be missed.
struct Housekeeping: Sendable {
    let store: any Store
    let projects: ProjectService
    let logger: Logger

    /// Returns when its task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await round(now: .nowMilliseconds)
            try? await Task.sleep(for: .seconds(Limits.housekeepingSeconds))
        }
    }

    func round(now: Date) async {
        await projects.sweepDeleted()
        do {
            let day = 24.0 * 3600
            let execs = try await store.pruneExecs(
                startedBefore: now.addingTimeInterval(-Double(Limits.execRecordDays) * day))
            let certificates = try await store.pruneCertificates(expiredBefore: now.addingTimeInterval(-30 * day))
            let joinTokens = try await store.pruneJoinTokens(expiredBefore: now.addingTimeInterval(-7 * day))
            logger.debug(
                "Old records were removed.",
                metadata: ["execs": "\(execs)", "certificates": "\(certificates)", "joinTokens": "\(joinTokens)"])
        } catch {
            logger.warning("Old records could not be removed.", metadata: ["error": "\(error)"])
        }
    }
}
