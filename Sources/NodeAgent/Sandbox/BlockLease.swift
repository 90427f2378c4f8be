import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// Who holds a block: the content of a file in the machine's directory of blocks.
struct BlockLease: Codable, Sendable, Equatable {
    var instance: String
    /// The instance's state directory. When it is not there, its holder was removed, or its disk is not mounted yet.
    var state: String
    var block: InstanceBlock

    var isAbandoned: Bool { access(state, F_OK) != 0 }
}

/// Leases of a machine, one file per block, made under a lock that all instances take.
package struct BlockRegistry: Sendable {
    let paths: NodePaths

    package init(paths: NodePaths) { self.paths = paths }

    /// The instance's block: the one it holds, or the first free one of the pool that `isUsable` accepts. What an instance holds that is
    /// not there is taken last: its disk may only be late.
    ///
    /// - Throws: `unavailable` when all are taken, `conflict` when the one it holds has become unusable, or another instance has got it.
    package func lease(pool: IPv4Network, isUsable: (InstanceBlock) -> Bool) throws -> InstanceBlock {
        let candidates = try InstanceBlock.all(in: pool)
        return try locked {
            let leases = try current()
            if let own = leases.first(where: isOwn)?.block {
                guard candidates.contains(own) else { return try move(from: own, to: candidates, leases, isUsable) }
                guard isUsable(own) else { throw overlap(own) }
                try note(own)
                return own
            }
            if let known = try known() { return try takeBack(known, candidates, leases, isUsable) }
            return try take(candidates, leases, isUsable)
        }
    }

    /// The block that the instance holds, if any.
    package func held() throws -> InstanceBlock? { try locked { try current().first(where: isOwn)?.block } }

    /// Gives the instance's block back. Nothing happens when it holds none.
    package func release() throws {
        try locked {
            for own in try current().filter(isOwn) { unlink(file(own.block.index)) }
            unlink(paths.block)
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
        let (free, abandoned) = (free(candidates, leases), free(candidates, leases.filter { !$0.isAbandoned }))
        guard let block = (free + abandoned).first(where: isUsable) else {
            throw FastableError(
                .unavailable,
                "No address block is free: \(leases.count) of \(candidates.count) are leased by other instances and the rest "
                    + "overlaps routes of this host. Set another ‘addressPool’, or remove instances that are not used.",
                context: leases.map { "\($0.block.index): \($0.instance) \($0.state)" }.joined(separator: ", "))
        }
        return try give(block, leases)
    }

    private func free(_ candidates: [InstanceBlock], _ leases: [BlockLease]) -> [InstanceBlock] {
        let taken = Set(leases.map(\.block.index))
        return candidates.filter { block in
            !taken.contains(block.index) && !leases.contains { $0.block.network.overlaps(block.network) }
        }
    }

    /// The block whose ids the instance's files have, of which the machine knows nothing any more.
    private func takeBack(
        _ index: Int, _ candidates: [InstanceBlock], _ leases: [BlockLease], _ isUsable: (InstanceBlock) -> Bool
    ) throws -> InstanceBlock {
        if let holder = leases.first(where: { $0.block.index == index && !$0.isAbandoned }) {
            throw FastableError(
                .conflict,
                "The files of this node's projects have the ids of block \(index), which the instance ‘\(holder.instance)’ got "
                    + "while this one's directory was not there. Tear that instance down, then start this node again.",
                context: holder.state)
        }
        let others = leases.filter { !$0.isAbandoned }
        guard let block = free(candidates, others).first(where: { $0.index == index }), isUsable(block) else {
            throw FastableError(
                .conflict,
                "The files of this node's projects have the ids of block \(index), whose addresses are in use on this host. Set another "
                    + "‘addressPool’ and restart the node.")
        }
        return try give(block, leases)
    }

    private func give(_ block: InstanceBlock, _ leases: [BlockLease]) throws -> InstanceBlock {
        for lease in leases where lease.block.index == block.index || lease.block.network.overlaps(block.network) {
            unlink(file(lease.block.index))
        }
        try write(block)
        return block
    }

    /// The ids of files hang on the block: the instance keeps with them which one it has.
    private func note(_ block: InstanceBlock) throws {
        guard try known() != block.index else { return }
        try AtomicFile.write(paths.block, Array("\(block.index)\n".utf8))
    }

    private func known() throws -> Int? {
        guard let bytes = try SmallFile.read(paths.block, atMost: 16) else { return nil }
        return Int(String(decoding: bytes.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    private func overlap(_ block: InstanceBlock) -> FastableError {
        FastableError(
            .conflict,
            "The node's addresses \(block.network) overlap a route of this host. Remove the route, or set another "
                + "‘addressPool’ and restart the node.")
    }

    private func current() throws -> [BlockLease] {
        try (0..<InstanceBlock.count).compactMap { index in
            guard let bytes = try SmallFile.read(file(index), atMost: 64 * 1024) else { return nil }
            return try JSON.decode(BlockLease.self, from: Data(bytes))
        }
    }

    private func write(_ block: InstanceBlock) throws {
        let lease = BlockLease(instance: paths.instance, state: paths.state, block: block)
        try note(block)
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
