import FastableCore
public import NodeFiles

extension ProjectVolume {
    /// The copies of the workspace that lie beside it.
    public var checkpoints: Checkpoints { Checkpoints(directory: paths.checkpoints) }

    /// What copies of the workspace leave free.
    public var bytesLeftByCopies: Int {
        guard paths.hasDisk, let space = DiskSpace(paths.workspace) else { return Limits.nodeDiskFreeBytesLeast }
        return min(Limits.nodeDiskFreeBytesLeast, space.totalBytes / Limits.projectDiskPartLeftByCopies)
    }

    /// The same before a copy on a disk of the project's own, which has more room than the node's, perhaps.
    public func checkSpaceForCopies() throws {
        if paths.hasDisk { try checkSpace() }
    }

    /// Throws `unavailable` when the node's disk is nearly full already.
    public func checkSpace() throws {
        guard let shortage = DiskSpace(paths.directory)?.shortage else { return }
        throw FastableError(
            .unavailable,
            "The node's disk is nearly full, so nothing is copied or restored on it: \(shortage). The workspace was not changed.",
            retryAfterSeconds: 60)
    }
}
