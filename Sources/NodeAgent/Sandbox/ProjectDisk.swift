import FastableCore
import Glibc
import Logging
import NodeLinux

/// What bounds the space that a project takes: a file system of its own in a sparse file, mounted at `disk` in the project's directory. A
/// project that was made without one goes on without.
struct ProjectDisk: Sendable {
    /// The size of new ones; those that are smaller grow. `nil` makes none, and opens those that there are.
    let bytes: Int?
    let logger: Logger

    private static let discarded = "discarded-"

    /// Makes the disk of a new project and mounts it; returns soon when it is open, or there is none. What an earlier run of the daemon
    /// did not come to is done.
    ///
    /// - Parameter wanted: its size, if the project says so itself.
    func open(_ project: ProjectPaths, owner: uid_t, wanted: Int?) async throws {
        do {
            if !project.hasDisk {
                // The mount point was made when the image had its name, so there was a disk, whose files must not be taken for lost.
                guard !Directories.exists(project.disk) else { throw Errno(ENOENT) }
                // Its files lie in its directory, or nobody wants disks.
                guard let bytes = wanted ?? bytes, !project.hasPlainFiles else { return }
                try Self.checkLoopDevices()
                try await make(project, bytes, owner)
            }
            try await BlockingPool.shared.run { try mount(project, owner) }
        } catch let error as FastableError where error.code == .unprocessable {
            throw error
        } catch {
            throw FastableError(
                .unavailable,
                "The project's disk cannot be opened, so its files cannot be used now. The node's log has the cause.",
                context: "\(project.diskImage): \(error)", retryAfterSeconds: 10)
        }
        // A disk of another size than it should have can be used all the same.
        do { try await BlockingPool.shared.run { try settle(project, wanted) } } catch {
            logger.error(
                "a project's disk has not the size that it should have",
                metadata: ["disk": "\(project.disk)", "error": "\(error)"])
        }
    }

    static func checkLoopDevices() throws {
        guard LoopVolume.isAvailable else {
            throw FastableError(
                .unprocessable,
                "The node cannot make disks for projects: its kernel has no loop devices. Load the module ‘loop’ on it (modprobe loop), or "
                    + "use no disks.", details: ["field": "diskBytes"])
        }
        guard access("/usr/sbin/mkfs.ext4", X_OK) == 0 || access("/sbin/mkfs.ext4", X_OK) == 0 else {
            throw FastableError(
                .unprocessable,
                "The node cannot make disks for projects: it has no mkfs.ext4. Install the package e2fsprogs on it, or use no disks.",
                details: ["field": "diskBytes"])
        }
    }

    /// The image gets its name when it is complete.
    private func make(_ project: ProjectPaths, _ bytes: Int, _ owner: uid_t) async throws {
        let draft = project.diskImage + ".new"
        try await BlockingPool.shared.run {
            let file = try FileDescriptor(
                opening: draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
            try Errno.check { ftruncate(file.number, off_t(Self.imageBytes(for: bytes))) }
        }
        // What is zero already need not be written. Nothing is kept for root: the overlay writes with its rights. The journal is used all
        // the way round, so its size is what each disk takes in the end.
        try await HostCommand(
            "mkfs.ext4",
            [
                "-q", "-F", "-m", "0", "-b", "\(Limits.projectDiskBlockBytes)", "-N",
                "\(min(bytes / Limits.projectDiskBytesPerFile, Limits.projectDiskFilesHighest))", "-J",
                "size=\(Limits.projectDiskJournalBytes >> 20)",
                "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=\(owner):\(owner)", draft,
            ]
        ).runChecked("make a project's disk")
        try await BlockingPool.shared.run {
            let file = try FileDescriptor(opening: draft, O_RDONLY | O_NOFOLLOW)
            try file.synchronize()
            try Directories.move(draft, to: project.diskImage)
        }
    }

    private func mount(_ project: ProjectPaths, _ owner: uid_t) throws {
        if mkdir(project.disk, 0o700) < 0, errno != EEXIST { throw Errno.last }
        guard !LoopVolume.isMounted(at: project.disk) else { return }
        // Its owner tells whose ids the files have, also while it is closed.
        try Errno.check { chown(project.disk, owner, owner) }
        try LoopVolume.mount(project.diskImage, at: project.disk)
        rmdir(project.disk + "/lost+found")
    }

    /// Takes a directory of the project's out of the way. Blocks.
    static func discard(_ directory: String, of project: ProjectPaths) throws {
        let name = discarded + String(UInt64.random(in: .min ... .max), radix: 36)
        try Directories.move(directory, to: project.disk + "/" + name)
    }

    /// Removes what was taken out of the way: it counts against the project. What an earlier run did not come to is removed as well.
    func removeDiscarded(_ project: ProjectPaths) async {
        for name in Directories.names(project.disk) where name.hasPrefix(Self.discarded) {
            do {
                try await Directories.removeTree(
                    project.disk + "/" + name, timeout: .seconds(Limits.projectDeleteSeconds))
            } catch {
                logger.warning(
                    "something old on a project's disk could not be removed",
                    metadata: ["directory": "\(project.disk)/\(name)", "error": "\(error)"])
            }
        }
    }

    /// Unmounts it: what somebody has open stays until he lets go. Blocks.
    static func close(_ project: ProjectPaths) throws {
        // One above another, should that ever have happened. The table of mounts has real paths, which this one need not be.
        for _ in 0..<8 where LoopVolume.isMounted(at: project.disk) { try Mounts.remove(project.disk) }
    }

    // MARK: what nobody needs

    /// Unmounts disks and frees loop devices of projects that the node does not have. Blocks.
    ///
    /// - Parameter kept: the names of the projects' directories.
    func closeOrphans(_ paths: NodePaths, keeping kept: Set<String>) throws {
        func isKept(_ path: String) -> Bool {
            guard path.hasPrefix(paths.projects + "/") else { return false }
            return path.dropFirst(paths.projects.count + 1).split(separator: "/").first.map { kept.contains("\($0)") }
                ?? false
        }
        for point in try [paths.projects, paths.trash].flatMap(Self.mounted) where !isKept(point) {
            logger.notice("unmounting a disk that belongs to no project", metadata: ["disk": "\(point)"])
            try Mounts.remove(point)
        }
        for device in try Self.idleDevices(paths) {
            logger.notice("freeing a loop device that nobody uses", metadata: ["file": "\(device.file)"])
            try LoopVolume.free(device)
        }
    }

    /// Loop devices of disks that are mounted nowhere on the host.
    static func idleDevices(_ paths: NodePaths) throws(Errno) -> [LoopVolume.Device] {
        let found = try LoopVolume.devices(below: paths.projects) + LoopVolume.devices(below: paths.trash)
        return found.filter { !$0.isMounted && $0.file.contains("/" + ProjectPaths.diskImageName) }
    }

    static func closeAll(below directory: String) throws {
        for point in try mounted(below: directory) { try Mounts.remove(point) }
    }

    /// Where disks are mounted: `PROJECT/disk`. Any other mount is the operator's own.
    static func mounted(below directory: String) throws(Errno) -> [String] {
        try Mounts.below(directory).filter { point in
            let rest = point.dropFirst(directory.utf8.count + 1).split(separator: "/")
            return rest.count == 2 && rest.last == "disk"
        }
    }
}

extension ProjectPaths {
    /// It was made without a disk.
    var hasPlainFiles: Bool { !hasDisk && Directories.exists(directory + "/workspace") }
}
