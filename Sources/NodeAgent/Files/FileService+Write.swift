public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

extension FileService {
    /// Replaces or makes a file, and the directories above it.
    ///
    /// The old content stays until the new one is complete and on the disk. `stale` when `ifMatch` does not hold; `limit` when the
    /// disk is full.
    public func write(_ request: FileWrite) async throws -> FileWriteResult {
        let path = try Self.requestedPath(request.path)
        let ifMatch = try Precondition(request.ifMatch)
        let bytes = try Self.content(of: request)
        return try await offload { [self] in
            let result = try replace(path, ifMatch, .kept(executable: request.executable)) { pending throws(Errno) in
                try pending.write(bytes)
            }
            return FileWriteResult(
                path: path.description, sha256: Digest.of(bytes), sizeBytes: bytes.count, created: result)
        }
    }

    private static func content(of request: FileWrite) throws -> [UInt8] {
        let bytes: [UInt8]
        switch request.encoding ?? .utf8 {
        case .utf8: bytes = Array(request.content.utf8)
        case .base64:
            guard let data = Data(base64Encoded: request.content) else {
                throw FastableError(
                    .invalid, "The field ‘content’ is not valid base 64.", details: ["field": "content"])
            }
            bytes = Array(data)
        }
        guard bytes.count <= Limits.fileWriteBytes else {
            throw FastableError(
                .tooLarge,
                "The content has \(bytes.count) bytes; fs.write takes \(Limits.fileWriteBytes). Send the file's raw bytes with PUT.",
                details: ["limit": .integer(Int64(Limits.fileWriteBytes))])
        }
        return bytes
    }

    /// Puts a new content at `path`; answers whether the file is new.
    func replace(
        _ path: RootedPath, _ precondition: Precondition, _ attributes: PendingFile.Attributes,
        _ fill: (borrowing PendingFile) throws(Errno) -> Void
    ) throws -> Bool {
        for _ in 0..<Self.attempts {
            let place = try writablePlace(path, precondition)
            let isNew = place.status == nil
            let expected = try expectation(path, place, precondition)
            var pending = try onFile(path, "write") { () throws(Errno) in
                let pending = try PendingFile.begin(at: place, owner: uidBase, attributes: attributes, names: names)
                try fill(pending)
                try pending.synchronize()
                return pending
            }
            if try commit(&pending, path, expected) { return isNew }
        }
        throw busy(path)
    }

    /// How often a change that came between is taken into account before the caller is told.
    static let attempts = 4

    func busy(_ path: RootedPath) -> FastableError {
        Errno(EAGAIN).fileError(path.description, doing: "change")
    }

    /// Where the file is, or will be once it is written.
    func writablePlace(_ path: RootedPath, _ precondition: Precondition) throws -> RootedDirectory.Place {
        let place: RootedDirectory.Place
        do throws(Errno) {
            // A file that must exist already needs no directory made.
            place = try root.finalPlace(of: path, makingDirectoriesFor: precondition.allowsAbsence ? uidBase : nil)
        } catch {
            if error.number == ENOENT, !precondition.allowsAbsence { throw stale(path, current: nil) }
            throw error.fileError(path.description, doing: "write")
        }
        switch place.status?.kind {
        case .regular, nil: return place
        case .directory: throw Errno(EISDIR).fileError(path.description, doing: "write")
        case .symlink, .other: throw notRegular(path)
        }
    }

    /// Checks `ifMatch` against the file that is there, and tells what must still hold when the new one takes its place.
    func expectation(
        _ path: RootedPath, _ place: borrowing RootedDirectory.Place, _ precondition: Precondition
    ) throws -> Expectation {
        switch precondition {
        case .none: return .anything
        case .absent:
            guard place.status == nil else { throw stale(path, current: try digest(path, place).text) }
            return .absent
        case .digest(let wanted):
            guard place.status != nil else { throw stale(path, current: nil) }
            let (text, status) = try digest(path, place)
            guard text == wanted else { throw stale(path, current: text) }
            return .unchanged(status)
        case .version(let wanted):
            guard let status = place.status else { throw stale(path, current: nil) }
            guard status.version == wanted else { throw stale(path, current: try digest(path, place).text) }
            return .unchanged(status)
        }
    }

    /// The state of a file that is there and whose content is as asked for.
    func content(
        _ path: RootedPath, _ place: borrowing RootedDirectory.Place, _ precondition: Precondition,
        field: String = "ifMatch"
    ) throws -> FileStatus {
        switch place.status?.kind {
        case .regular: break
        case nil: throw stale(path, current: nil)
        case .directory, .symlink, .other:
            throw FastableError(
                .unprocessable, "‘\(path)’ is no regular file, so it has no content that ‘\(field)’ could name.",
                details: ["field": .string(field)])
        }
        guard case .unchanged(let status) = try expectation(path, place, precondition) else {
            throw stale(path, current: try digest(path, place).text)
        }
        return status
    }

    private func digest(
        _ path: RootedPath, _ place: borrowing RootedDirectory.Place
    ) throws -> (text: String, status: FileStatus) {
        do throws(Errno) {
            return try Self.digest(of: try place.directory.openEntry(place.name, O_RDONLY))
        } catch { throw error.fileError(path.description, doing: "read") }
    }

    static func digest(of file: borrowing FileDescriptor) throws(Errno) -> (text: String, status: FileStatus) {
        let status = try file.status()
        guard status.kind == .regular else { throw Errno(ENXIO) }
        guard status.size <= Limits.rawFileBytes else { throw Errno(EFBIG) }
        var digest = Digest()
        var position: Int64 = 0
        // No further than it was long: a process may make it longer for ever.
        while position < status.size {
            let chunk = try file.readChunk(Int(min(1024 * 1024, status.size - position)), at: position)
            chunk.withUnsafeBytes { digest.update($0) }
            position += Int64(chunk.count)
            if chunk.isEmpty { break }
        }
        return (digest.text, status)
    }

    func stale(_ path: RootedPath, current: String?) -> FastableError {
        let now = current.map { "its sha256 is now \($0)" } ?? "it does not exist"
        return FastableError(
            .stale, "‘\(path)’ is not as ‘ifMatch’ says: \(now). Read it again, then repeat the change.",
            details: ["path": .string(path.description), "sha256": current.map { .string($0) } ?? .null])
    }

    /// Lets the new file take the place; `false` when what is there is not what was expected.
    func commit(_ pending: inout PendingFile, _ path: RootedPath, _ expected: Expectation) throws -> Bool {
        try onFile(path, "write") { () throws(Errno) in
            let isDone = try commitLocked(&pending, expected)
            if isDone { try pending.synchronizeName() }
            return isDone
        }
    }

    private func commitLocked(_ pending: inout PendingFile, _ expected: Expectation) throws(Errno) -> Bool {
        try commitLock.withLock { _ throws(Errno) in
            switch expected {
            case .anything: try pending.commit(exclusively: false)
            case .absent:
                do throws(Errno) {
                    try pending.commit(exclusively: true)
                } catch {
                    if error.number == EEXIST { return false }
                    throw error
                }
            case .unchanged(let status):
                guard let current = try pending.current(), current.isSameState(as: status) else { return false }
                try pending.commit(exclusively: false)
            }
            return true
        }
    }
}

/// What `ifMatch` asks for.
enum Precondition: Sendable, Equatable {
    case none
    case absent
    case digest(String)
    /// What a download told of the file's state.
    case version(String)

    init(_ ifMatch: String?, field: String = "ifMatch") throws {
        guard let ifMatch else {
            self = .none
            return
        }
        let text = ifMatch.lowercased()
        if text.isEmpty {
            self = .absent
        } else if Digest.isForm(text) {
            self = .digest(text)
        } else if FileStatus.isVersion(text) {
            self = .version(text)
        } else {
            throw FastableError(
                .unprocessable,
                "The field ‘\(field)’ must be a sha256 in hexadecimal, or empty for a file that must not exist.",
                details: ["field": .string(field)])
        }
    }

    /// Whether the file may be missing before the change.
    var allowsAbsence: Bool {
        switch self {
        case .none, .absent: true
        case .digest, .version: false
        }
    }
}

/// What must hold at the moment a new file takes its place.
enum Expectation: Sendable {
    case anything
    case absent
    case unchanged(FileStatus)
}
