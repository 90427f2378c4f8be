import FastableCore
import NodeLinux

/// Files that have several names, each under the name by which it came first.
struct HardLinks {
    private struct File: Hashable {
        var device: UInt64
        var inode: UInt64
    }

    private var files: [File: (path: [UInt8], namesLeft: UInt64)] = [:]

    /// The name under which the file came before; `nil` when it comes for the first time, or when too many are known already.
    mutating func earlierName(of status: FileStatus, at path: [UInt8]) -> [UInt8]? {
        guard status.kind == .regular, status.links > 1 else { return nil }
        let file = File(device: status.device, inode: status.inode)
        guard let known = files[file] else {
            if files.count < Limits.snapshotLinksHeld { files[file] = (path, status.links - 1) }
            return nil
        }
        files[file] = known.namesLeft > 1 ? (known.path, known.namesLeft - 1) : nil
        return known.path
    }
}
