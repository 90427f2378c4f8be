import FastableCore
import Glibc
import Logging
import NodeLinux

/// How much of its disk a project may use. The file system is larger than that, and its reserve takes the rest: so the limit changes at
/// once, in both directions, also while the container runs.
extension ProjectDisk {
    /// The image of a new disk.
    static func imageBytes(for bytes: Int) -> Int {
        let most = max(bytes, Limits.containerDiskBytesHighest)
        let wanted = bytes > most / Limits.projectDiskHeadroom ? most : bytes * Limits.projectDiskHeadroom
        let block = Limits.projectDiskBlockBytes
        return (wanted + block - 1) / block * block
    }

    /// What the project is told of its disk; `nil` without one that is open. Takes some microseconds.
    func use(_ project: ProjectPaths, wanted: Int?) -> DiskUse? {
        guard project.hasDisk, LoopVolume.isMounted(at: project.disk), let space = DiskSpace(project.disk) else {
            return nil
        }
        let limit = min(size(wanted, project, space), Self.mostBytes(space))
        return DiskUse(limitBytes: limit, usedBytes: max(0, limit - space.freeBytes), freeFiles: space.freeInodes)
    }

    /// What a project could use if it was kept from nothing.
    private static func mostBytes(_ space: DiskSpace) -> Int {
        let kept = min(
            space.totalBytes / Limits.projectDiskPartKeptByFileSystem, Limits.projectDiskBytesKeptByFileSystem)
        return space.totalBytes - kept - Limits.projectDiskReserveBytes
    }

    /// What the project says itself, or what it has, and no less than the node's standard.
    private func size(_ wanted: Int?, _ project: ProjectPaths, _ space: DiskSpace) -> Int {
        if let wanted { return wanted }
        let beyond = max(0, DiskReserve.bytesHeld(on: project.disk) - Limits.projectDiskReserveBytes)
        return max(Self.mostBytes(space) - beyond, bytes ?? 0)
    }

    /// Gives an open disk the size that it should have. One that is new has the node's standard.
    func settle(_ project: ProjectPaths, _ wanted: Int?) throws {
        guard project.hasDisk, let space = DiskSpace(project.disk) else { return }
        let isNew = DiskReserve.bytesHeld(on: project.disk) == 0
        try become(project, (isNew ? wanted ?? bytes : nil) ?? size(wanted, project, space), space)
    }

    /// Changes the size of a project's disk, also while its container runs; nothing happens when there is none yet. Blocks.
    ///
    /// - Throws: `conflict` with the numbers when more than that is in use, or when the project was made without a disk; nothing was
    ///   changed then.
    func resize(_ project: ProjectPaths, from before: Int?, to wanted: Int?) throws {
        guard project.hasDisk, LoopVolume.isMounted(at: project.disk), let space = DiskSpace(project.disk) else {
            guard wanted != nil, project.hasPlainFiles else { return }
            throw FastableError(
                .conflict,
                "The project was made without a disk of its own, so it cannot get a size. A fork of it has one when its workspace or "
                    + "its node is set to give them.",
                details: ["field": "diskBytes"])
        }
        let (old, size) = (size(before, project, space), size(wanted, project, space))
        // Trying would take all free space for a moment from what runs.
        if size < old, let now = use(project, wanted: before), now.usedBytes > size {
            throw explain(Errno(ENOSPC), size, now) ?? Errno(ENOSPC)
        }
        do throws(Errno) { try become(project, size, space) } catch {
            try? become(project, old, space)
            throw explain(error, size, use(project, wanted: old)) ?? error
        }
        logger.info("the size of a project's disk was set", metadata: ["disk": "\(project.disk)", "bytes": "\(size)"])
    }

    private func explain(_ error: Errno, _ size: Int, _ use: DiskUse?) -> (any Error)? {
        let used = use?.usedBytes ?? 0
        let details: [String: JSONValue] = [
            "field": "diskBytes", "inUse": .integer(Int64(used)), "asked": .integer(Int64(size)),
        ]
        switch error.number {
        case ENOSPC:
            return FastableError(
                .conflict,
                "The project's disk cannot have \(size) bytes, since \(used) are in use. Delete files first. No limit was changed.",
                details: details)
        case EPERM, EOPNOTSUPP:
            return FastableError(
                .conflict,
                "The project's disk cannot have \(size) bytes: its file system would have to grow, which its node may not do. Save the "
                    + "project and restore it as a new one of that size. No limit was changed.", details: details)
        default: return nil
        }
    }

    /// Each step can be done again: the daemon may end between any two.
    private func become(_ project: ProjectPaths, _ size: Int, _ space: DiskSpace) throws(Errno) {
        var space = space
        if size > space.totalBytes, let image = try Self.outgrown(project, by: size, space) {
            try LoopVolume.grow(at: project.disk, to: image)
            space = DiskSpace(project.disk) ?? space
        }
        try DiskReserve(on: project.disk, bytesBeyond: max(0, Self.mostBytes(space) - size)).take()
    }

    /// Makes the image large enough.
    ///
    /// - Returns: its size, when the file system has to become as large; `nil` when it lacks only what it needs for itself.
    private static func outgrown(_ project: ProjectPaths, by size: Int, _ space: DiskSpace) throws(Errno) -> Int? {
        var status = stat()
        try Errno.check { lstat(project.diskImage, &status) }
        let (found, wanted) = (Int(status.st_size), imageBytes(for: size))
        if found < wanted {
            try Errno.check { truncate(project.diskImage, off_t(wanted)) }
            return wanted
        }
        // Or the daemon ended between the two steps.
        return space.totalBytes < found / 100 * Limits.projectDiskPercentForContent ? found : nil
    }
}

/// A container can be made although its disk is full.
extension ProjectDisk {
    /// Runs `body` with the reserve at its disposal, if it is needed; nothing of the project may run meanwhile.
    func withReserve<Result: Sendable>(
        of project: ProjectPaths, wanted: Int?, _ body: () async throws -> Result
    ) async throws -> Result {
        guard project.hasDisk, let space = DiskSpace(project.disk) else { return try await body() }
        let beyond = max(0, Self.mostBytes(space) - size(wanted, project, space))
        let reserve = DiskReserve(on: project.disk, bytesBeyond: beyond)
        let left = try await BlockingPool.shared.run { try reserve.lend() }
        do {
            let result = try await body()
            if let left { await takeBack(reserve, left, project) }
            return result
        } catch {
            if let left { await takeBack(reserve, left, project) }
            throw error
        }
    }

    /// What cannot be taken back now is when the disk is opened or the next container is made.
    private func takeBack(_ reserve: DiskReserve, _ left: Int, _ project: ProjectPaths) async {
        do {
            try await BlockingPool.shared.run {
                // Otherwise the size was changed meanwhile, and with it the reserve was taken.
                if DiskReserve.bytesHeld(on: project.disk) == left { try reserve.take() }
            }
        } catch {
            logger.warning("the reserve of a project's disk is incomplete", metadata: ["error": "\(error)"])
        }
    }
}
