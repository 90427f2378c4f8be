public import FastableCore
import FoundationEssentials
import Glibc

/// The kill switch of the host itself, as a file that only root writes. It works without the controller and without the daemon.
public struct LocalSwitch: Sendable {
    private let directory: String
    private let path: String
    /// What the daemon has put in force last: the id of the switch, or nothing.
    private let taken: String

    public init(paths: NodePaths) {
        directory = paths.state
        path = paths.localSwitch
        taken = paths.takenSwitch
    }

    /// The switch when it is on. A file that cannot be read holds everything that is new, and ends nothing.
    public var current: KillSwitch? {
        do {
            guard let bytes = try SmallFile.read(path, atMost: 64 * 1024) else { return nil }
            return try JSON.decode(KillSwitch.self, from: Data(bytes))
        } catch {
            return KillSwitch(
                id: Self.damaged, scope: .all, mode: .noNewWork, holds: true,
                reason: "The file of the host's kill switch cannot be read.", by: "fastable-node", owner: .host,
                since: Date(timeIntervalSince1970: 0))
        }
    }

    private static let damaged: KillSwitchID = {
        var generator = SystemRandomNumberGenerator()
        return KillSwitchID(milliseconds: 0, using: &generator)
    }()

    public func turnOn(_ mode: KillSwitch.Mode, reason: String, by: String) throws -> KillSwitch {
        let held = KillSwitch(
            scope: .all, mode: mode, holds: true, reason: reason, by: by, owner: .host, since: Date())
        try Directories.make(directory, mode: 0o711)
        try AtomicFile.write(path, Array(try JSON.encodePretty(held)))
        return held
    }

    /// Also when it is off.
    public func turnOff() throws {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw FastableError.system(errno, cannot: "remove the kill switch", context: path)
        }
    }

    // MARK: the daemon's side

    /// Differs when the file was written or removed since.
    public struct Mark: Sendable, Equatable {
        fileprivate var inode: UInt
        fileprivate var seconds: Int
        fileprivate var nanoseconds: Int
    }

    /// `nil` without a file.
    public var mark: Mark? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return Mark(inode: status.st_ino, seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }

    /// Tells whoever waits that the switch is in force, or that none is.
    public func noteTaken(_ held: KillSwitch?) throws {
        try AtomicFile.write(taken, Array((held?.id.description ?? "").utf8))
    }

    public func isTaken(_ held: KillSwitch?) -> Bool {
        guard let bytes = try? SmallFile.read(taken, atMost: 256) else { return false }
        return String(decoding: bytes, as: UTF8.self) == held?.id.description ?? ""
    }
}
