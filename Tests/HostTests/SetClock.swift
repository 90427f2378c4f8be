import Foundation
import Glibc

/// A time of day for single programs, which a test can set while they run, and the kernel's name of the host's present life. The kernel's
/// clock is left alone, and so are the clocks that nobody can set. By the library `SetClock`, which is built beside the tests.
struct SetClock {
    /// What runs a program by this clock.
    let environment: [String: String]
    private let file: FileHandle
    private let boot: URL

    init(_ path: URL) throws {
        let library = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "libSetClock.so")
        guard access(library.path, R_OK) == 0 else {
            throw CocoaError(.fileNoSuchFile, userInfo: ["path": library.path])
        }
        boot = path.appendingPathExtension("boot")
        environment = [
            "LD_PRELOAD": library.path, "FASTABLE_TEST_CLOCK": path.path, "FASTABLE_TEST_BOOT": boot.path,
        ]
        try Data(count: MemoryLayout<Int64>.size).write(to: path)
        file = try FileHandle(forUpdating: path)
        try beginLife()
    }

    /// Programs that are started from now on take the host for one that was started anew.
    func beginLife() throws { try Data("\(UUID().uuidString.lowercased())\n".utf8).write(to: boot, options: .atomic) }

    /// In one step: the programs have the file in their memory.
    func set(secondsAhead: Int) throws {
        try file.seek(toOffset: 0)
        try withUnsafeBytes(of: Int64(secondsAhead)) { try file.write(contentsOf: Data($0)) }
    }
}
