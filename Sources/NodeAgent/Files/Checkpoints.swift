public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// The copies of one project's workspace that lie beside it. Its calls block.
///
/// Each has a directory with a record and the tree, which comes last and in one step: without it there is no checkpoint.
public struct Checkpoints: Sendable {
    private static let recordName = "record.json"
    /// A tree that is still being copied.
    private static let draftName = "draft"
    /// A tree that is being removed: it counts no more from the first moment on.
    private static let removedName = "removed"
    private static let recordBytes = 64 * 1024

    private let directory: String

    public init(directory: String) { self.directory = directory }

    // MARK: what there is

    /// Newest first.
    public func list() throws -> [CheckpointInfo] {
        try ids().filter(isFinished).map(record)
    }

    private func record(_ id: CheckpointID) throws -> CheckpointInfo {
        let bytes = try SmallFile.read("\(path(id))/\(Self.recordName)", atMost: Self.recordBytes)
        // What was taken over after a crash has lost no byte, only what was known of it.
        return bytes.flatMap { try? JSON.decode(CheckpointInfo.self, from: Data($0)) }
            ?? CheckpointInfo(id: id, createdAt: Date(timeIntervalSince1970: 0), note: "")
    }

    private func path(_ id: CheckpointID) -> String { "\(directory)/\(id)" }

    private func ids() throws -> [CheckpointID] {
        var ids: [CheckpointID] = []
        do throws(Errno) {
            let opened = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
            try opened.forEachEntry { entry in
                if let id = CheckpointID(String(decoding: entry.name, as: UTF8.self)) { ids.append(id) }
                return true
            }
        } catch {
            if error.number != ENOENT { throw error.fileError("the checkpoints", doing: "list") }
        }
        return ids.sorted(by: >)
    }

    private func isFinished(_ id: CheckpointID) -> Bool {
        access("\(path(id))/\(StagedTree.treeName)", F_OK) == 0
    }

    /// The content of a checkpoint.
    func tree(_ id: CheckpointID) throws -> RootedDirectory {
        do throws(Errno) {
            return try RootedDirectory(path: "\(path(id))/\(StagedTree.treeName)")
        } catch {
            guard error.number == ENOENT else { throw error.fileError("the checkpoint", doing: "open") }
            throw Self.missing(id)
        }
    }

    /// Throws `not_found` when the checkpoint was removed since its tree was opened: who copied from that may have a part of it only.
    func check(_ id: CheckpointID, has tree: RootedDirectory) throws {
        let there = try self.tree(id)
        let isSame = try Self.isSame(there, tree)
        guard isSame else { throw Self.missing(id) }
    }

    private static func isSame(_ one: RootedDirectory, _ other: RootedDirectory) throws -> Bool {
        do throws(Errno) { return try one.descriptor.status().isSameFile(as: other.descriptor.status()) } catch {
            throw error.fileError("the checkpoint", doing: "open")
        }
    }

    private static func missing(_ id: CheckpointID) -> FastableError {
        FastableError(
            .notFound, "The project has no checkpoint ‘\(id)’. List those that it has.",
            details: ["checkpoint": .string(id.description)])
    }

    // MARK: making one

    /// Makes the place of a new one, with its record; its tree is still missing.
    func begin(_ info: CheckpointInfo) throws -> RootedDirectory {
        do throws(Errno) {
            try Self.make(directory)
            try Self.make(path(info.id))
        } catch { throw error.fileError("the checkpoint", doing: "make") }
        try write(info)
        do throws(Errno) { return try RootedDirectory(path: path(info.id)) } catch {
            throw error.fileError("the checkpoint", doing: "make")
        }
    }

    func write(_ info: CheckpointInfo) throws {
        try AtomicFile.write("\(path(info.id))/\(Self.recordName)", Array(try JSON.encode(info)))
    }

    /// Where a tree is copied to, before `publishDraft`.
    func makeDraft(in place: RootedDirectory) throws(Errno) -> RootedDirectory {
        RootedDirectory(try place.descriptor.makeDirectory(Self.draftName, mode: 0o700, owner: geteuid()))
    }

    func publishDraft(in place: RootedDirectory) throws(Errno) {
        try place.descriptor.moveEntry(Self.draftName, to: place.descriptor, as: StagedTree.treeName)
        try place.descriptor.synchronize()
    }

    /// Takes over a tree of the same file system.
    func adopt(_ id: CheckpointID, _ name: String, of other: borrowing FileDescriptor) throws(Errno) {
        try Self.make(directory)
        try Self.make(path(id))
        let place = try FileDescriptor(opening: path(id), O_RDONLY | O_DIRECTORY)
        try other.moveEntry(name, to: place, as: StagedTree.treeName)
        try place.synchronize()
    }

    private static func make(_ path: String) throws(Errno) {
        do throws(Errno) { try Errno.check { mkdir(path, 0o700) } } catch {
            if error.number != EEXIST { throw error }
        }
    }

    // MARK: removing

    /// `not_found` when there is none.
    public func remove(_ id: CheckpointID) throws {
        _ = try tree(id)
        try discard(id)
    }

    /// Removes the oldest ones while there are more than may be.
    func removeSurplus() throws {
        for id in try ids().dropFirst(Limits.checkpointsPerProject) { try discard(id) }
    }

    /// Removes what was begun and never ended. Only when nothing is under way: at the start of the daemon.
    public func removeUnfinished() {
        for id in (try? ids()) ?? [] where !isFinished(id) { try? discard(id) }
    }

    func discard(_ id: CheckpointID) throws {
        do throws(Errno) {
            let opened = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
            let place = try opened.openEntry(id.description, O_RDONLY | O_DIRECTORY)
            try Self.takeTree(from: place)
            var removal = TreeRemoval()
            try removal.removeContent(of: place)
            try opened.removeDirectory(id.description)
        } catch { throw error.fileError("the checkpoint", doing: "remove") }
    }

    /// In one step, before anything of it goes: nobody takes a part for the whole, also after a crash.
    private static func takeTree(from place: borrowing FileDescriptor) throws(Errno) {
        do throws(Errno) { try place.moveEntry(StagedTree.treeName, to: place, as: removedName) } catch {
            // There never was a whole one, or an earlier attempt got so far.
            guard error.number == ENOENT else { throw error }
            return
        }
        try place.synchronize()
    }
}
