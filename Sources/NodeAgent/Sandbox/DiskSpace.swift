package import FastableCore
import Glibc

/// The size of a file system.
public struct DiskSpace: Sendable {
    public let totalBytes: Int
    /// What a program without privileges could still use.
    public let freeBytes: Int
    /// Files that can still be made; `nil` when the file system has no fixed number of them.
    public let freeInodes: Int?

    /// Of the file system that a path is on; `nil` when the path does not exist.
    public init?(_ path: String) {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { return nil }
        totalBytes = Int(clamping: facts.f_blocks) * Int(clamping: facts.f_frsize)
        freeBytes = Int(clamping: facts.f_bavail) * Int(clamping: facts.f_frsize)
        freeInodes = facts.f_files == 0 ? nil : Int(clamping: facts.f_favail)
    }

    package init(totalBytes: Int, freeBytes: Int, freeInodes: Int?) {
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
        self.freeInodes = freeInodes
    }

    /// What is too little for a container to be started: `12 MiB are free, 256 MiB are needed`; `nil` when there is enough.
    package var shortage: String? {
        let megabyte = 1024 * 1024
        if freeBytes < Limits.nodeDiskFreeBytesLeast {
            return "\(freeBytes / megabyte) MiB are free, \(Limits.nodeDiskFreeBytesLeast / megabyte) MiB are needed"
        }
        if let freeInodes, freeInodes < Limits.nodeDiskFreeInodesLeast {
            return "\(freeInodes) files can still be made, \(Limits.nodeDiskFreeInodesLeast) are needed"
        }
        return nil
    }

    /// Throws `unavailable` when a container must not be started now. One that runs is left alone.
    package func checkForStart() throws(FastableError) {
        guard let shortage else { return }
        throw FastableError(
            .unavailable,
            "The node's disk is nearly full, so no container is started: \(shortage). Delete files with fs.delete, or projects "
                + "that are not needed, or ask the operator to free space on the node. What runs goes on.",
            details: ["freeBytes": .integer(Int64(freeBytes))], retryAfterSeconds: 60)
    }
}
