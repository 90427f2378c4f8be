import FastableCore
import Glibc

/// The size of a file system.
public struct DiskSpace: Sendable {
    public let totalBytes: Int
    /// What a program without privileges could still use.
    public let freeBytes: Int
    /// Files that can still be made; `nil` when the file system has no fixed number of them.
    public let freeInodes: Int?
    /// Files that it can hold, under the same condition.
    public let totalInodes: Int?

    /// Of the file system that a path is on; `nil` when the path does not exist.
    public init?(_ path: String) {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { return nil }
        totalBytes = Int(clamping: facts.f_blocks) * Int(clamping: facts.f_frsize)
        freeBytes = Int(clamping: facts.f_bavail) * Int(clamping: facts.f_frsize)
        freeInodes = facts.f_files == 0 ? nil : Int(clamping: facts.f_favail)
        totalInodes = facts.f_files == 0 ? nil : Int(clamping: facts.f_files)
    }

    package init(totalBytes: Int, freeBytes: Int, freeInodes: Int?, totalInodes: Int? = nil) {
        self.totalInodes = totalInodes ?? freeInodes
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
        self.freeInodes = freeInodes
    }

    /// Who writes to it is told that there is no space.
    var isFull: Bool {
        freeBytes < Limits.diskFullBytes || freeInodes.map { $0 < Limits.diskFullInodes } ?? false
    }

    /// What is too little for copies of workspaces: `12 MiB are free, 256 MiB are needed`; `nil` when there is enough.
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
}
