import FastableCore
public import NodeFiles

extension ProjectVolume {
    /// The copies of the workspace that lie beside it.
    public var checkpoints: Checkpoints { Checkpoints(directory: paths.checkpoints) }

    /// Throws `unavailable` when the node's disk is nearly full already.
    public func checkSpace() throws {
        guard let shortage = DiskSpace(paths.directory)?.shortage else { return }
        throw FastableError(
            .unavailable,
            "The node's disk is nearly full, so nothing is restored on it: \(shortage). The workspace was not changed.",
            retryAfterSeconds: 60)
    }
}
