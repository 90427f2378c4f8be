import FastableCore
import Synchronization

/// The right to compress or expand one tree, held for as long as it takes: each costs memory and time of the node. Some of a project
/// whose readers never read leave turns for others.
final class CompressionTurn: Sendable {
    private static let taken = Atomic(0)

    private let work: FileWork

    private init(_ work: FileWork) { self.work = work }

    /// - Throws: `limit` when too many are held.
    static func take(of work: FileWork) throws -> CompressionTurn {
        // Made first: from here on its end gives back what is taken in the next lines.
        let turn = CompressionTurn(work)
        let own = work.compressed.add(1, ordering: .relaxed).newValue
        let all = taken.add(1, ordering: .relaxed).newValue
        guard own <= Limits.zstdTreesPerProject else {
            throw limit("of this project", Limits.zstdTreesPerProject)
        }
        guard all <= Limits.zstdTreesPerNode else { throw limit("of all projects", Limits.zstdTreesPerNode) }
        return turn
    }

    private static func limit(_ whose: String, _ limit: Int) -> FastableError {
        FastableError(
            .limit,
            "The node works on \(limit) compressed trees \(whose) already. Try again, or do not compress.",
            details: ["limit": .integer(Int64(limit))], retryAfterSeconds: 5)
    }

    deinit {
        work.compressed.subtract(1, ordering: .relaxed)
        Self.taken.subtract(1, ordering: .relaxed)
    }
}
