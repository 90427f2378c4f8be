import FastableCore
import Synchronization

/// The right to compress or expand one tree, held for as long as it takes: each costs memory and time of the node.
final class CompressionTurn: Sendable {
    private static let taken = Atomic(0)

    private init() {}

    /// - Throws: `limit` when too many are held.
    static func take() throws -> CompressionTurn {
        // Made first: from here on its end gives back what is taken in the next line.
        let turn = CompressionTurn()
        guard taken.add(1, ordering: .relaxed).newValue <= Limits.zstdTreesPerNode else {
            throw FastableError(
                .limit,
                "The node works on \(Limits.zstdTreesPerNode) compressed trees already. Try again, or do not compress.",
                details: ["limit": .integer(Int64(Limits.zstdTreesPerNode))], retryAfterSeconds: 5)
        }
        return turn
    }

    deinit { Self.taken.subtract(1, ordering: .relaxed) }
}
