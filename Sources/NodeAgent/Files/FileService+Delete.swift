public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Removes a file, a symbolic link (never what it leads to) or a directory.
    public func delete(_ request: FileDelete) async throws -> FileDeleteResult {
        let path = try Self.requestedPath(request.path)
        guard !path.isRoot else {
            throw FastableError(
                .unprocessable, "The workspace itself cannot be deleted; name what is in it.",
                details: ["field": "path"])
        }
        let ifMatch = try Precondition(request.ifMatch)
        return try await offload { [self] in
            guard ifMatch == .none else { return try delete(path, ifMatch) }
            let removed = try onFile(path, "delete") { () throws(Errno) in
                try delete(path, recursive: request.recursive ?? false)
            }
            return FileDeleteResult(path: path.description, removed: removed)
        }
    }

    /// Removes a file that is as `ifMatch` says.
    private func delete(_ path: RootedPath, _ ifMatch: Precondition) throws -> FileDeleteResult {
        for _ in 0..<Self.attempts {
            let place = try onFile(path, "delete") { () throws(Errno) in try root.place(of: path) }
            let status = try content(path, place, ifMatch)
            let isDone = try onFile(path, "delete") { () throws(Errno) in
                try commitLock.withLock { _ throws(Errno) in
                    guard try place.directory.status(of: place.name).isSameState(as: status) else { return false }
                    try place.directory.removeEntry(place.name)
                    return true
                }
            }
            if isDone {
                try onFile(path, "delete") { () throws(Errno) in try place.directory.synchronize() }
                return FileDeleteResult(path: path.description, removed: 1)
            }
        }
        throw busy(path)
    }

    private func delete(_ path: RootedPath, recursive: Bool) throws(Errno) -> Int {
        let place = try root.place(of: path)
        let removed = try delete(place, recursive)
        // It stays away after a loss of power.
        try place.directory.synchronize()
        return removed
    }

    private func delete(_ place: borrowing RootedDirectory.Place, _ recursive: Bool) throws(Errno) -> Int {
        guard let status = place.status else { throw Errno(ENOENT) }
        guard status.kind == .directory else {
            try place.directory.removeEntry(place.name)
            return 1
        }
        do throws(Errno) {
            try place.directory.removeDirectory(place.name)
            return 1
        } catch {
            guard error.number == ENOTEMPTY, recursive else { throw error }
        }
        var removal = TreeRemoval()
        try removal.removeContent(of: try place.directory.openEntry(place.name, O_RDONLY | O_DIRECTORY))
        do throws(Errno) {
            try place.directory.removeDirectory(place.name)
        } catch {
            // A process put something new into it.
            throw error.number == ENOTEMPTY ? Errno(EBUSY) : error
        }
        return removal.removed + 1
    }
}
