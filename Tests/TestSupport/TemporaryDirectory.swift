import FastableCore
import FoundationEssentials

#if canImport(Glibc)
    package import Glibc
#endif

/// A directory of a test's own; it goes when the test's last reference to it goes.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init(in parent: String = "/tmp", mode: mode_t = 0o700) throws {
        // Short: paths of sockets below it have little room.
        var template = Array("\(parent)/fbt-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FastableError.system(errno, cannot: "make a test's directory") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        chmod(path, mode)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file and gives its path.
    package func file(_ name: String, _ text: String) throws -> String {
        let file = path + "/" + name
        try AtomicFile.write(file, Array(text.utf8))
        return file
    }
}

/// Runs the body with a directory of its own and removes it, also when the body throws.
package func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let directory = try TemporaryDirectory()
    defer { withExtendedLifetime(directory) {} }
    return try body(directory.path)
}

/// Runs the body with a directory of its own and removes it, also when the body throws.
package func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let directory = try TemporaryDirectory()
    defer { withExtendedLifetime(directory) {} }
    return try await body(directory.path)
}

/// The permission bits of a file.
package func mode(of path: String) throws -> mode_t {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw FastableError.system(errno, cannot: "look at ‘\(path)’") }
    return status.st_mode & 0o7777
}
