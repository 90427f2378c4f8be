import FastableCore

/// Where directories go that are being removed: their names are free at once, the files may take a while. Only root looks in here,
/// so whose ids the files carry does not matter any more.
actor Trash {
    private let directory: String
    private var last: Task<Void, any Error>?

    init(_ directory: String) { self.directory = directory }

    /// Takes a directory out of the way in one step. Blocks.
    nonisolated func discard(_ path: String) throws {
        try Directories.make(directory, mode: 0o700)
        let name = path.split(separator: "/").last.map(String.init) ?? "unnamed"
        try Directories.move(path, to: "\(directory)/\(name)-\(WallClock.nowMilliseconds())")
    }

    /// Removes everything that is in it now. One at a time: two that remove the same tree trip over each other.
    func empty() async throws {
        let previous = last
        let task = Task { [directory] in
            _ = await previous?.result
            for name in Directories.names(directory) {
                try await Directories.removeTree(
                    directory + "/" + name, timeout: .seconds(Limits.projectDeleteSeconds))
            }
        }
        last = task
        try await task.value
    }
}
