import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// The secrets of a command that runs, in a file that only root can read. It goes when nothing of the command will be printed
/// any more.
final class SecretFile: Sendable {
    private let directory: String
    /// `nil` when the file cannot be read: then nothing is shown.
    let secrets: ExecSecrets?
    /// An earlier daemon could not avoid to end within a secret.
    private let mayBeCut: Bool

    private static let name = "/secrets"
    /// The same file, once an occurrence may have been cut.
    private static let cutName = "/secrets-cut"

    /// Makes the file; `EEXIST` when there is one.
    init(_ secrets: ExecSecrets, in directory: String) throws(Errno) {
        self.directory = directory
        self.secrets = secrets
        mayBeCut = false
        if mkdir(directory, 0o700) < 0, errno != EEXIST { throw Errno.last }
        do throws(Errno) {
            guard let bytes = try? JSON.encode(secrets) else { throw Errno(EINVAL) }
            let file = try FileDescriptor(
                opening: directory + Self.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
            try file.writeAll(Array(bytes))
        } catch {
            // That of another command with the same id stays.
            if error.number != EEXIST { remove() }
            throw error
        }
    }

    /// What an earlier daemon has kept; `nil` when that is nothing.
    init?(foundIn directory: String) {
        self.directory = directory
        for name in [Self.name, Self.cutName] {
            do throws(Errno) {
                let file = try FileDescriptor(opening: directory + name, O_RDONLY | O_NOFOLLOW)
                let bytes = try file.readAll(limit: 8 * Limits.secretsBytes)
                secrets = try? JSON.decode(ExecSecrets.self, from: Data(bytes))
                mayBeCut = name == Self.cutName
                return
            } catch {
                guard error.number == ENOENT else {
                    secrets = nil
                    mayBeCut = true
                    return
                }
            }
        }
        return nil
    }

    /// - Parameter patterns: of these secrets, and of those of others.
    func redactor(_ patterns: SecretPatterns?, from offset: UInt64) -> SecretRedactor {
        SecretRedactor(secrets == nil ? nil : patterns, position: offset, mayBeCut: mayBeCut)
    }

    /// From now on a daemon that takes over may find an occurrence whose beginning it does not see.
    func noteCut() throws(Errno) {
        if rename(directory + Self.name, directory + Self.cutName) < 0, errno != ENOENT { throw Errno.last }
    }

    func remove() { Self.remove(from: directory) }

    static func remove(from directory: String) {
        for name in [name, cutName] { unlink(directory + name) }
        // Holds output in most cases.
        rmdir(directory)
    }
}
