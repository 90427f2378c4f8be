import ControllerDomain
import ControllerStore
import FastableCore
package import FoundationEssentials
import Logging

/// Forgets what has served its time. It takes no input but what is stored, so any round may be missed.
package struct Housekeeping: Sendable {
    let store: any Store
    let projects: ProjectService
    let snapshots: SnapshotService
    /// 0 keeps the audit for ever.
    let auditRetentionDays: Int
    let logger: Logger

    /// Returns when its task is cancelled.
    func run() async {
        await projects.removeUnfilled()
        while !Task.isCancelled {
            await round(now: .nowMilliseconds)
            try? await Task.sleep(for: .seconds(Limits.housekeepingSeconds))
        }
    }

    private static let day = 24.0 * 3600

    package func round(now: Date) async {
        await projects.sweepDeleted()
        await pruneAudit(now: now)
        await pruneEvents(now: now)
        await snapshots.removeExpired(at: now)
        await snapshots.removeAbandoned()
        do {
            let day = Self.day
            let execs = try await store.pruneExecs(
                startedBefore: now.addingTimeInterval(
                    -Double(Limits.execRecordDays) * day - Double(Limits.detachedExecTimeoutLongestSeconds)))
            let certificates = try await store.pruneCertificates(expiredBefore: now.addingTimeInterval(-30 * day))
            let onceKeys = try await store.pruneOnce(expiredBefore: now)
            let joinTokens = try await store.pruneJoinTokens(expiredBefore: now.addingTimeInterval(-7 * day))
            logger.debug(
                "Old records were removed.",
                metadata: [
                    "execs": "\(execs)", "certificates": "\(certificates)", "joinTokens": "\(joinTokens)",
                    "onceKeys": "\(onceKeys)",
                ])
        } catch {
            logger.warning("Old records could not be removed.", metadata: ["error": "\(error)"])
        }
    }

    private func pruneEvents(now: Date) async {
        do {
            let oldest = now.addingTimeInterval(-Double(Limits.eventDays) * Self.day)
            while try await store.pruneEvents(before: oldest, keeping: Limits.eventsKept) == Limits.eventsPrunedAtOnce,
                !Task.isCancelled
            {}
        } catch {
            logger.warning("Old events could not be removed.", metadata: ["error": "\(error)"])
        }
    }

    /// By whole days, so that the chain gets one event about it a day and not one in each round.
    private func pruneAudit(now: Date) async {
        guard auditRetentionDays > 0 else { return }
        let days = (now.timeIntervalSince1970 / Self.day).rounded(.down) - Double(auditRetentionDays)
        let oldest = Date(timeIntervalSince1970: days * Self.day)
        do {
            var removed = 0
            var count = 0
            repeat {
                count = try await store.pruneAudit(before: oldest, at: now)
                removed += count
            } while count == Limits.auditRowsPrunedAtOnce && !Task.isCancelled
            guard removed > 0 else { return }
            logger.notice(
                "Old audit events were removed.",
                metadata: ["events": "\(removed)", "before": "\(oldest.formatted(.iso8601))"])
        } catch {
            logger.warning("Old audit events could not be removed.", metadata: ["error": "\(error)"])
        }
    }
}
