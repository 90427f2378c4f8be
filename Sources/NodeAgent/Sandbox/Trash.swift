import FastableCore

/// Where directories go that are being removed: their names are free at once, the files may take a while. Only root looks in here,
/// so whose ids the files carry does not matter any more.
package actor Trash {
    private let directory: String
    private var last: Task<Void, any Error>?

    package init(_ directory: String) { self.directory = directory }

    /// Takes a directory out of the way in one step. Blocks.
    ///
    /// - Returns: where it is now, for `remove`.
    package nonisolated func discard(_ path: String) throws -> String {
        try Directories.make(directory, mode: 0o700)
        let name = path.split(separator: "/").last.map(String.init) ?? "unnamed"
        let discarded = "\(directory)/\(name)-\(String(UInt64.random(in: .min ... .max), radix: 36))"
        // What was deleted must not be there again when the host has lost its power.
        try Directories.moveForGood(path, to: discarded)
        return discarded
    }

    /// Removes what was discarded before. That it is gone already is fine.
    func remove(_ path: String) async throws { try await removeAll { [path] } }

    /// Removes everything that is in it now. What cannot be removed holds nothing else up; the first failure is thrown at the end.
    func empty() async throws {
        try await removeAll { [directory] in Directories.names(directory).map { directory + "/" + $0 } }
    }

    /// One at a time: two that remove the same tree trip over each other.
    private func removeAll(_ paths: @escaping @Sendable () -> [String]) async throws {
        let previous = last
        let task = Task {
            _ = await previous?.result
            var failure: (any Error)?
            for path in paths() {
                do {
                    try await Directories.removeTree(path, timeout: .seconds(Limits.projectDeleteSeconds))
                } catch {
                    failure = failure ?? error
                }
            }
            if let failure { throw failure }
        }
        last = task
        try await task.value
    }
}
