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
    private(set) var head = AuditHead.beginning
    private(set) var checked: Int64 = 0
    private let noted: AuditHead?

    /// With a head that was noted elsewhere, the chain has to pass through it.
    init(noted: AuditHead?) { self.noted = noted }

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
        if let noted, noted.sequence > head.sequence {
            return broken(head.sequence + 1, "The end is missing: event \(noted.sequence) was noted.")
        }
        return nil
    }

    private func broken(_ sequence: Int64, _ reason: String) -> AuditVerification.Break {
        AuditVerification.Break(sequence: sequence, reason: reason)
    }
}
