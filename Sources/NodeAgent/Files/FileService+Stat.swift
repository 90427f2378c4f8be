import CLinux
public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// What a path is; nothing is opened that could make one wait.
    public func stat(_ request: FileStat) async throws -> FileStatResult {
        let path = try Self.requestedPath(request.path)
        let follows = request.followLink ?? false
        let (status, target) = try onFile(path, "look at") { () throws(Errno) -> (FileStatus, [UInt8]?) in
            if path.isRoot || follows { return (try root.open(path, CInt(FST_O_PATH)).status(), nil) }
            let place = try root.place(of: path)
            guard let status = place.status else { throw Errno(ENOENT) }
            return (status, status.kind == .symlink ? try place.directory.linkTarget(of: place.name) : nil)
        }
        var result = FileStatResult(
            path: path.description, kind: .init(status.kind), sizeBytes: Int(status.size), mode: status.octalMode,
            modifiedMilliseconds: status.modified / 1_000_000, user: numberInside(status.user),
            group: numberInside(status.group), links: Int(clamping: status.links),
            symlinkTarget: target.map { String(decoding: $0, as: UTF8.self) })
        guard request.digest ?? false, status.kind == .regular else { return result }
        let file = try onFile(path, "read") { () throws(Errno) in try OpenFile(try root.open(path, O_RDONLY)) }
        result.sha256 = try await offload { [self] in
            try onFile(path, "read") { () throws(Errno) in try Self.digest(of: file.descriptor).text }
        }
        return result
    }

    /// A user or group of the host as the container numbers it.
    private func numberInside(_ id: UInt32) -> Int? {
        id >= uidBase && id - uidBase < Limits.containerUsers ? Int(id - uidBase) : nil
    }

    /// Sets permission bits; never a set-id or sticky bit.
    public func changeMode(_ request: FileModeChange) async throws -> FileModeChangeResult {
        let path = try Self.requestedPath(request.path)
        guard (3...4).contains(request.mode.utf8.count), let mode = UInt32(request.mode, radix: 8), mode <= 0o777 else {
            throw FastableError(
                .unprocessable, "The field ‘mode’ must be octal, from 000 to 777, for example 755.",
                details: ["field": "mode"])
        }
        let ifMatch = try Precondition(request.ifMatch)
        return try await offload { [self] in
            guard ifMatch == .none else { return try changeMode(path, mode, ifMatch) }
            let kind = try onFile(path, "change") { () throws(Errno) in
                let file = try root.open(path, CInt(FST_O_PATH))
                let kind = try file.status().kind
                guard kind == .regular || kind == .directory else { return kind }
                try Errno.checkNegative(fst_change_mode(file.number, mode))
                try Self.synchronize(file)
                return kind
            }
            guard kind == .regular || kind == .directory else { throw notRegular(path) }
            return FileModeChangeResult(path: path.description, mode: FileStatus.octal(mode))
        }
    }

    /// Waits until what was changed of a file, opened with `O_PATH`, is on the disk.
    private static func synchronize(_ file: borrowing FileDescriptor) throws(Errno) {
        do throws(Errno) { try file.reopen(O_RDONLY).synchronize() } catch {
            // Only root can open what nobody may read, and the node is root.
            guard error.number == EACCES else { throw error }
        }
    }

    /// Changes a file that is as `ifMatch` says.
    private func changeMode(
        _ path: RootedPath, _ mode: UInt32, _ ifMatch: Precondition
    ) throws -> FileModeChangeResult {
        for _ in 0..<Self.attempts {
            let place = try onFile(path, "change") { () throws(Errno) in
                try root.finalPlace(of: path, makingDirectoriesFor: nil)
            }
            let status = try content(path, place, ifMatch)
            let isDone = try onFile(path, "change") { () throws(Errno) in
                try commitLock.withLock { _ throws(Errno) in
                    let file = try place.directory.openEntry(place.name, O_RDONLY)
                    guard try file.status().isSameState(as: status) else { return false }
                    try Errno.checkNegative(fst_change_mode(file.number, mode))
                    try file.synchronize()
                    return true
                }
            }
            if isDone { return FileModeChangeResult(path: path.description, mode: FileStatus.octal(mode)) }
        }
        throw busy(path)
    }

    /// Makes a directory that belongs to the container's root.
    public func makeDirectory(_ request: DirectoryMake) async throws -> DirectoryMakeResult {
        let path = try Self.requestedPath(request.path)
        let withParents = request.parents ?? false
        return try await offload { [self] in
            let created = try onFile(path, "make") { () throws(Errno) in
                if path.isRoot {
                    guard withParents else { throw Errno(EEXIST) }
                    return false
                }
                return try makeDirectory(path, withParents)
            }
            return DirectoryMakeResult(path: path.description, created: created)
        }
    }

    private func makeDirectory(_ path: RootedPath, _ withParents: Bool) throws(Errno) -> Bool {
        // With a link in its place this is where the link leads to; without parents a name that is taken is refused.
        let place =
            try withParents
            ? root.finalPlace(of: path, makingDirectoriesFor: uidBase) : root.place(of: path)
        if let status = place.status {
            guard withParents, status.kind == .directory else { throw Errno(EEXIST) }
            return false
        }
        let made = try place.directory.makeDirectory(place.name, mode: 0o755, owner: uidBase)
        try made.synchronize()
        try place.directory.synchronize()
        return true
    }
}
