import FastableCore
import FoundationEssentials
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The archives on the controller's disk: one file for each snapshot. What is being written has another name.
final class ArchiveStore: Sendable {
    private static let suffix = ".tar.zst"
    private static let draftSuffix = ".draft"

    let directory: String
    /// So much of the disk stays free.
    let reserveBytes: Int
    /// Written now, or not recorded yet: neither abandoned drafts nor orphans.
    private let active = Mutex<Set<SnapshotID>>([])
    private let thread = FileThread()

    init(directory: String, reserveBytes: Int) {
        self.directory = directory
        self.reserveBytes = reserveBytes
    }

    func path(_ id: SnapshotID) -> String { "\(directory)/\(id)\(Self.suffix)" }
    func draftPath(_ id: SnapshotID) -> String { path(id) + Self.draftSuffix }

    func begin(_ id: SnapshotID) async throws -> ArchiveDraft {
        try await thread.run { [self] in try make(id) }
    }

    private func make(_ id: SnapshotID) throws -> ArchiveDraft {
        try makeDirectory()
        try checkSpace()
        active.withLock { _ = $0.insert(id) }
        do { return try ArchiveDraft(id, in: self) } catch {
            end(id)
            throw error
        }
    }

    /// The snapshot is on record, or its draft is gone.
    func end(_ id: SnapshotID) { active.withLock { _ = $0.remove(id) } }

    /// A large file takes its time.
    func remove(_ id: SnapshotID) async { _ = try? await thread.run { [self] in unlink(path(id)) } }

    private func makeDirectory() throws {
        guard mkdir(directory, 0o700) < 0, errno != EEXIST else { return }
        throw FastableError.system(errno, cannot: "make the directory of snapshots", context: directory)
    }

    /// Throws `unavailable` when the disk is too full for snapshots. Blocks.
    func checkSpace() throws {
        var facts = statvfs()
        guard statvfs(directory, &facts) == 0 else { return }
        let free = Int(clamping: facts.f_bavail) * Int(clamping: facts.f_frsize)
        guard free < reserveBytes else { return }
        throw Self.tooFull(freeBytes: free, reserveBytes: reserveBytes)
    }

    static func tooFull(freeBytes: Int, reserveBytes: Int) -> FastableError {
        let megabyte = 1024 * 1024
        return FastableError(
            .unavailable,
            "The controller's disk is too full for a snapshot: \(freeBytes / megabyte) MiB are free, and \(reserveBytes / megabyte) MiB "
                + "stay so. Remove snapshots that are not needed, or give the controller's state directory more space.",
            details: ["freeBytes": .integer(Int64(freeBytes)), "reserveBytes": .integer(Int64(reserveBytes))],
            retryAfterSeconds: 60)
    }

    /// Removes drafts that nobody writes any more, and gives the ids of the archives, which may be unknown to the database.
    func removeDrafts() async -> [SnapshotID] {
        (try? await thread.run { [self] in unlinkDrafts() }) ?? []
    }

    private func unlinkDrafts() -> [SnapshotID] {
        guard let opened = opendir(directory) else { return [] }
        defer { closedir(opened) }
        var names: [String] = []
        while let entry = readdir(opened) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        let active = active.withLock(\.self)
        var found: [SnapshotID] = []
        for name in names {
            let isDraft = name.hasSuffix(Self.draftSuffix)
            let rest = isDraft ? String(name.dropLast(Self.draftSuffix.count)) : name
            guard rest.hasSuffix(Self.suffix), let id = SnapshotID(String(rest.dropLast(Self.suffix.count))),
                !active.contains(id)
            else { continue }
            if isDraft { unlink(draftPath(id)) } else { found.append(id) }
        }
        return found
    }

    /// Blocks.
    func synchronizeDirectory() throws {
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else {
            throw FastableError.system(errno, cannot: "write the snapshot", context: directory)
        }
    }
}
