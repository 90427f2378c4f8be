import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// Who holds a block: the content of a file in the machine's directory of blocks.
struct BlockLease: Codable, Sendable, Equatable {
    var instance: String
    /// The instance's state directory. A lease whose directory is gone has no holder.
    var state: String
    var block: InstanceBlock
}

/// Leases of a machine, one file per block, made under a lock that all instances take.
package struct BlockRegistry: Sendable {
    let paths: NodePaths

    package init(paths: NodePaths) { self.paths = paths }

    /// The instance's block: the one it holds, or the first free one of the pool that `isUsable` accepts.
    ///
    /// - Throws: `unavailable` when all are taken, `conflict` when the one it holds has become unusable.
    package func lease(pool: IPv4Network, isUsable: (InstanceBlock) -> Bool) throws -> InstanceBlock {
        let candidates = try InstanceBlock.all(in: pool)
        return try locked {
            let leases = try current()
            if let own = leases.first(where: isOwn)?.block {
                guard candidates.contains(own) else { return try move(from: own, to: candidates, leases, isUsable) }
                guard isUsable(own) else { throw overlap(own) }
                return own
            }
            return try take(candidates, leases, isUsable)
        }
    }

    /// The block that the instance holds, if any.
    package func held() throws -> InstanceBlock? { try locked { try current().first(where: isOwn)?.block } }

    /// Gives the instance's block back. Nothing happens when it holds none.
    package func release() throws {
        try locked {
            for own in try current().filter(isOwn) { unlink(file(own.block.index)) }
        }
    }

    private func isOwn(_ lease: BlockLease) -> Bool { lease.instance == paths.instance && lease.state == paths.state }

    /// The pool was configured anew. The ids of files on disk hang on the index, so only the addresses change.
    private func move(
        from own: InstanceBlock, to candidates: [InstanceBlock], _ leases: [BlockLease],
        _ isUsable: (InstanceBlock) -> Bool
    ) throws -> InstanceBlock {
        guard let moved = candidates.first(where: { $0.index == own.index }), isUsable(moved) else {
            throw overlap(own)
        }
        unlink(file(own.index))
        try write(moved)
        return moved
    }

    private func take(
        _ candidates: [InstanceBlock], _ leases: [BlockLease], _ isUsable: (InstanceBlock) -> Bool
    ) throws -> InstanceBlock {
        let taken = Set(leases.map(\.block.index))
        let free = candidates.filter { block in
            !taken.contains(block.index) && !leases.contains { $0.block.network.overlaps(block.network) }
        }
        guard let block = free.first(where: isUsable) else {
            throw FastableError(
                .unavailable,
                "No address block is free: \(taken.count) of \(candidates.count) are leased by other instances and the rest "
                    + "overlaps routes of this host. Set another ‘addressPool’, or remove instances that are not used.",
                context: leases.map { "\($0.block.index): \($0.instance) \($0.state)" }.joined(separator: ", "))
        }
        try write(block)
        return block
    }

    private func overlap(_ block: InstanceBlock) -> FastableError {
        FastableError(
            .conflict,
            "The node's addresses \(block.network) overlap a route of this host. Remove the route, or set another "
                + "‘addressPool’ and restart the node.")
    }

    /// All leases that have a holder; the others are removed.
    private func current() throws -> [BlockLease] {
        try (0..<InstanceBlock.count).compactMap { index in
            guard let bytes = try SmallFile.read(file(index), atMost: 64 * 1024) else { return nil }
            let lease = try JSON.decode(BlockLease.self, from: Data(bytes))
            if access(lease.state, F_OK) == 0 { return lease }
            unlink(file(index))
            return nil
        }
    }

    private func write(_ block: InstanceBlock) throws {
        let lease = BlockLease(instance: paths.instance, state: paths.state, block: block)
        try AtomicFile.create(file(block.index), Array(try JSON.encodePretty(lease)), mode: 0o644)
    }

    private func file(_ index: Int) -> String { "\(paths.blocks)/\(index)" }

    private func locked<Value>(_ body: () throws -> Value) throws -> Value {
        try Directories.make(paths.blocks, mode: 0o755)
        let lock = try FileDescriptor(opening: paths.blocks + "/.lock", O_RDWR | O_CREAT, mode: 0o600)
        try Errno.check { flock(lock.number, LOCK_EX) }
        let value = try body()
        try lock.close()
        return value
    }
}
