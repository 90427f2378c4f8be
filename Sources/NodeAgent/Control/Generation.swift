import FastableCore
import Glibc
import NodeLinux

/// The number of this node's dial attempts, kept on disk so that it rises over restarts: the newest link fences all older ones.
package struct Generation {
    private let path: String
    private let clock: () -> UInt64

    /// - Parameter clock: milliseconds since 1970, as the wall clock has them.
    package init(path: String, clock: @escaping () -> UInt64 = WallClock.nowMilliseconds) {
        self.path = path
        self.clock = clock
    }

    /// Raises the number, stores it durably, and gives it.
    package func next() throws -> UInt64 {
        // A damaged file counts as a lost one: it must not keep the node from its controller.
        let text = (try? SmallFile.read(path, atMost: 64)).map { String(decoding: $0, as: UTF8.self) }
        let stored = text?.split(separator: "\n").first.flatMap { UInt64($0) } ?? 0
        // A lost file must not bring back old numbers, so the clock is the floor.
        let previous = max(stored <= Self.highest ? stored : 0, clock())
        let bytes = Array("\(previous + 1)\n".utf8)
        do { try AtomicFile.write(path, bytes) } catch {
            // A full disk takes no new file, but has room where the old number stands.
            guard (try? overwrite(bytes)) != nil else { throw error }
        }
        return previous + 1
    }

    private func overwrite(_ bytes: [UInt8]) throws {
        let file = try FileDescriptor(opening: path, O_WRONLY | O_NOFOLLOW)
        try file.writeAll(bytes)
        try file.synchronize()
    }

    /// Half of what the number can hold: no clock and no count of dials gets there, only a damaged file.
    private static let highest = UInt64.max / 2
}
