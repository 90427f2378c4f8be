public import FastableCore
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Gives a file, a symbolic link (never what it leads to) or a directory another name, at once and completely.
    ///
    /// - Throws: `conflict` when something is there and may not be replaced; `stale` when `ifMatch` does not hold.
    public func move(_ request: FileMove) async throws -> FileMoveResult {
        let from = try Self.requestedPath(request.from)
        let to = try Self.requestedPath(request.to)
        let precondition = try Self.precondition(request.ifMatch, overwrite: request.overwrite)
        let sourcePrecondition = try Precondition(request.ifSourceMatch, field: "ifSourceMatch")
        guard !from.isRoot else { throw Self.isWorkspace("from") }
        guard !to.isRoot else { throw Self.isWorkspace("to") }
        return try await offload { [self] in
            for _ in 0..<Self.attempts {
                let source = try onFile(from, "move") { () throws(Errno) in try root.place(of: from) }
                guard let status = source.status else { throw Errno(ENOENT).fileError(from.description, doing: "move") }
                var moved: FileStatus?
                if request.ifSourceMatch != nil {
                    moved = try content(from, source, sourcePrecondition, field: "ifSourceMatch")
                }
                let target = try targetPlace(to, precondition, of: status.kind)
                let expected = try expectation(to, target, precondition, wasGiven: request.ifMatch != nil)
                if try move(source, status, from, ifStill: moved, to: target, to, expected) {
                    return FileMoveResult(
                        from: from.description, to: to.description, replaced: target.status != nil)
                }
            }
            throw busy(to)
        }
    }

    private func move(
        _ source: borrowing RootedDirectory.Place, _ status: FileStatus, _ from: RootedPath, ifStill moved: FileStatus?,
        to target: borrowing RootedDirectory.Place, _ to: RootedPath, _ expected: Expectation
    ) throws -> Bool {
        do throws(Errno) {
            guard try put(source.name, of: source.directory, ifStill: moved, at: target, expected) else { return false }
            // Of two names of one file, the kernel keeps both.
            if let replaced = target.status, replaced.isSameFile(as: status), !Self.isSame(source, target) {
                try source.directory.removeEntry(source.name)
            }
            try target.directory.synchronize()
            try source.directory.synchronize()
            return true
        } catch {
            switch error.number {
            case EINVAL: throw intoItself(from)
            case ENOENT: throw error.fileError(from.description, doing: "move")
            default: throw error.fileError(to.description, doing: "move")
            }
        }
    }

    private static func isSame(
        _ one: borrowing RootedDirectory.Place, _ other: borrowing RootedDirectory.Place
    ) -> Bool {
        guard one.name == other.name, let first = try? one.directory.status(),
            let second = try? other.directory.status()
        else { return false }
        return first.isSameFile(as: second)
    }

    // MARK: what copies and moves share

    /// What may be at the place where something goes.
    static func precondition(_ ifMatch: String?, overwrite: Bool?) throws -> Precondition {
        guard ifMatch == nil else { return try Precondition(ifMatch) }
        return overwrite ?? false ? .none : .absent
    }

    /// Where something goes; its last part is not followed when it is a symbolic link. Directories neither replace nor are replaced.
    func targetPlace(
        _ path: RootedPath, _ precondition: Precondition, of kind: FileStatus.Kind
    ) throws -> RootedDirectory.Place {
        let place: RootedDirectory.Place
        do throws(Errno) {
            place = try root.place(of: path, makingDirectoriesFor: precondition.allowsAbsence ? uidBase : nil)
        } catch {
            if error.number == ENOENT, !precondition.allowsAbsence { throw stale(path, current: nil) }
            throw error.fileError(path.description, doing: "write")
        }
        guard let existing = place.status?.kind, existing == .directory || kind == .directory else { return place }
        let what = existing == .directory ? "a directory, and no directory is replaced" : "there already"
        throw FastableError(
            .conflict, "‘\(path)’ is \(what). Delete it first, or choose another name.",
            details: ["path": .string(path.description)])
    }

    /// Like the other one, but `conflict` when something is there and nobody said that it may be replaced.
    func expectation(
        _ path: RootedPath, _ place: borrowing RootedDirectory.Place, _ precondition: Precondition, wasGiven: Bool
    ) throws -> Expectation {
        guard wasGiven || precondition != .absent || place.status == nil else {
            throw FastableError(
                .conflict, "‘\(path)’ exists already. Choose another name, or set ‘overwrite’ to replace it.",
                details: ["path": .string(path.description)])
        }
        return try expectation(path, place, precondition)
    }

    /// Lets an entry take a place; `false` when what is there is not what was expected, or the entry is not in the state that it has to
    /// be in.
    func put(
        _ name: String, of directory: borrowing FileDescriptor, ifStill state: FileStatus? = nil,
        at place: borrowing RootedDirectory.Place,
        _ expected: Expectation
    ) throws(Errno) -> Bool {
        try commitLock.withLock { _ throws(Errno) in
            if let state, try !directory.status(of: name).isSameState(as: state) { return false }
            if case .unchanged(let status) = expected {
                guard let current = try? place.directory.status(of: place.name), current.isSameState(as: status) else {
                    return false
                }
            }
            var exclusively = false
            if case .absent = expected { exclusively = true }
            do throws(Errno) {
                try directory.moveEntry(name, to: place.directory, as: place.name, exclusively: exclusively)
                return true
            } catch {
                if exclusively, error.number == EEXIST { return false }
                throw error
            }
        }
    }

    func intoItself(_ path: RootedPath) -> FastableError {
        FastableError(
            .unprocessable, "‘\(path)’ cannot go into itself. Choose a place outside of it.",
            details: ["path": .string(path.description)])
    }

    static func isWorkspace(_ field: String) -> FastableError {
        FastableError(
            .unprocessable, "The workspace itself cannot be that; name what is in it.",
            details: ["field": .string(field)])
    }
}
