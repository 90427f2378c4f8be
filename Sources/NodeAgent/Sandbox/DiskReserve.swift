import FastableCore
import Glibc
import NodeLinux

/// Space and files that a project's disk keeps from all who write to it. They are free for the moment in which a container is made, when
/// nothing of the project runs: a disk that is full can always be opened. All of it blocks.
struct DiskReserve {
    private let disk: String
    /// What is kept beside the reserve itself, where the disk is larger than the project may use.
    private let bytesBeyond: Int
    private let bytes: Int
    private let files: Int

    /// - Parameter disk: where it is mounted.
    init(
        on disk: String, bytesBeyond: Int, bytes: Int = Limits.projectDiskReserveBytes,
        files: Int = Limits.projectDiskReserveFiles
    ) {
        self.disk = disk
        self.bytesBeyond = bytesBeyond
        self.bytes = bytes
        self.files = files
    }

    private var directory: String { disk + "/reserve" }
    private var space: String { directory + "/space" }

    /// What it takes from the disk now.
    static func bytesHeld(on disk: String) -> Int {
        var status = stat()
        return lstat(disk + "/reserve/space", &status) == 0 ? Int(status.st_size) : 0
    }

    /// Takes as much of it as there is.
    ///
    /// - Throws: `ENOSPC` when that is not all; what is there was taken.
    func take() throws(Errno) {
        if mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
        let failure = takeFiles()
        let file = try FileDescriptor(opening: space, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
        let wanted = Int64(bytes + bytesBeyond)
        if try file.status().size > wanted { try Errno.check { ftruncate(file.number, off_t(wanted)) } }
        // Nothing is written by that, also not to the image.
        let status = posix_fallocate(file.number, 0, off_t(wanted))
        guard status == 0 else { throw Errno(status) }
        if let failure { throw failure }
    }

    private func takeFiles() -> Errno? {
        let there = Set(Directories.names(directory))
        for index in 0..<files where !there.contains("\(index)") {
            do throws(Errno) {
                _ = try FileDescriptor(opening: "\(directory)/\(index)", O_WRONLY | O_CREAT | O_NOFOLLOW, mode: 0o600)
            } catch { return error }
        }
        return nil
    }

    /// Gives back what a container needs that is being made, if there is less.
    ///
    /// - Returns: what is still held, when anything was given, which `take` has to take again.
    func lend() throws(Errno) -> Int? {
        guard let free = DiskSpace(disk), Directories.exists(space) else { return nil }
        guard free.freeBytes < bytes || free.freeInodes.map({ $0 < files }) ?? false else { return nil }
        for name in Directories.names(directory) where name != "space" { unlink("\(directory)/\(name)") }
        if Self.bytesHeld(on: disk) > bytesBeyond { try Errno.check { truncate(space, off_t(bytesBeyond)) } }
        return Self.bytesHeld(on: disk)
    }
}
