import FastableCore
import NodeLinux

/// What `SnapshotFacts.fingerprint` says, of a workspace as it is now. Blocks.
public enum WorkspaceFingerprint {
    /// - Parameter path: the workspace's directory on the host.
    public static func of(_ path: String) throws -> String {
        do throws(Errno) { return try TreeFingerprint.of(try RootedDirectory(path: path)).text } catch {
            throw error.fileError(".", doing: "read")
        }
    }
}

/// Tells whether anything in a tree has changed since it was walked: names, attributes, contents as far as the kernel notes their
/// changes (what is written through a mapping of memory, it may note late).
struct TreeFingerprint: Equatable {
    private var digest = Digest()

    mutating func add(_ entry: TreeWalker.Entry) {
        let status = entry.status
        entry.path.withUnsafeBytes { digest.update($0) }
        let kind: UInt64 =
            switch status.kind {
            case .regular: 1
            case .directory: 2
            case .symlink: 3
            case .other: 4
            }
        let fields: [UInt64] = [
            // The path's length comes with it, so that no two lists of entries have the same bytes.
            UInt64(entry.path.count), kind, UInt64(status.mode), UInt64(status.user) << 32 | UInt64(status.group),
            status.inode, status.kind == .directory ? 0 : UInt64(bitPattern: status.size),
            UInt64(bitPattern: status.modified), UInt64(bitPattern: status.changed),
        ]
        fields.withUnsafeBytes { digest.update($0) }
    }

    /// Of the tree as it is now.
    static func of(_ top: RootedDirectory) throws(Errno) -> TreeFingerprint {
        var fingerprint = TreeFingerprint()
        var walker = TreeWalker(top)
        while let entry = try walker.next() { fingerprint.add(entry) }
        return fingerprint
    }

    var text: String { digest.text }

    static func == (one: Self, other: Self) -> Bool { one.digest.text == other.digest.text }
}
