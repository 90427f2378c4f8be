import ControllerDomain
import Crypto
import FastableCore
import FoundationEssentials

/// The hash that links each event to the one before.
enum AuditChain {
    static func hash(previous: [UInt8], sequence: Int64, canonical: [UInt8]) -> [UInt8] {
        var hasher = SHA256()
        hasher.update(data: previous)
        withUnsafeBytes(of: sequence.bigEndian) { hasher.update(bufferPointer: $0) }
        hasher.update(data: canonical)
        return Array(hasher.finalize())
    }
}

/// A row of the audit as it is read back: the event, and what protects it.
struct AuditRow: Sendable {
    var entry: AuditEntry
    var previousHash: [UInt8]
    var detailText: String
}

/// Walks along the chain. Pure: rows go in, in the order of their numbers, and the first break comes out.
struct AuditChainCheck: Sendable {
    let start: AuditHead
    private(set) var head: AuditHead
    private(set) var checked: Int64 = 0
    private let noted: AuditHead?
    /// Whether an event of the chain says that what came before `start` was pruned.
    private var isAnchored: Bool

    /// - Parameters:
    ///   - start: what the first row follows.
    ///   - noted: a head that was noted elsewhere, through which the chain has to pass. Throws `gone` when it was pruned.
    init(start: AuditHead, noted: AuditHead?) throws {
        self.start = start
        self.noted = noted
        head = start
        isAnchored = start == .beginning
        guard let noted, noted != .beginning, noted.sequence < start.sequence else { return }
        throw FastableError(
            .gone,
            "Event \(noted.sequence) was removed by the retention, which keeps the audit from event \(start.sequence + 1) on. "
                + "Compare with a newer note.", details: ["from": .integer(start.sequence + 1)])
    }

    /// To be asked before the first row, with the number of rows that stand where none is left.
    func begin(rowsBefore: Int) -> AuditVerification.Break? {
        if rowsBefore > 0 { return broken(start.sequence, "Events that were removed are there again.") }
        if let noted, noted.sequence == start.sequence, noted.hash != start.hash {
            return broken(start.sequence, "It is not the event that was noted: the chain was written anew.")
        }
        return nil
    }

    /// Checks the next row; `nil` when it is good.
    mutating func take(_ row: AuditRow) -> AuditVerification.Break? {
        let expected = head.sequence + 1
        guard row.entry.head.sequence == expected else { return broken(expected, "The event is missing.") }
        guard row.previousHash == head.hash else { return broken(expected, "It does not follow the event before it.") }
        let canonical = row.entry.event.canonicalBytes(detailText: row.detailText)
        let hash = AuditChain.hash(previous: head.hash, sequence: expected, canonical: canonical)
        guard row.entry.head.hash == hash else { return broken(expected, "The event was changed.") }
        if let noted, noted.sequence == expected, noted.hash != hash {
            return broken(expected, "It is not the event that was noted: the chain was written anew.")
        }
        head = row.entry.head
        checked += 1
        if !isAnchored { isAnchored = row.entry.event.prunes(through: start, detailText: row.detailText) }
        return nil
    }

    /// To be asked after the last row, with the head that the database keeps.
    func finish(stored: AuditHead) -> AuditVerification.Break? {
        if stored.sequence > head.sequence {
            return broken(head.sequence + 1, "The end is missing: \(stored.sequence) events were written.")
        }
        if stored.sequence < head.sequence {
            return broken(stored.sequence + 1, "Fastable did not write this event.")
        }
        if stored.hash != head.hash { return broken(head.sequence, "It is not the event that was written last.") }
        if !isAnchored {
            return broken(start.sequence, "The beginning is missing, and no event says that the retention removed it.")
        }
        if let noted, noted.sequence > head.sequence {
            return broken(head.sequence + 1, "The end is missing: event \(noted.sequence) was noted.")
        }
        return nil
    }

    private func broken(_ sequence: Int64, _ reason: String) -> AuditVerification.Break {
        AuditVerification.Break(sequence: sequence, reason: reason)
    }
}
