import FastableCore
import Glibc

/// A moment in the present life of the host, to be kept on disk. Setting the host's clock does not move it; after a reboot it tells
/// nothing any more.
public struct BootMoment: Codable, Sendable, Equatable {
    /// Random, new at each start of the host.
    public var boot: String
    /// Since that start, sleep included.
    public var milliseconds: Int64

    public init(boot: String, milliseconds: Int64) {
        self.boot = boot
        self.milliseconds = milliseconds
    }

    public static func now() -> BootMoment {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return BootMoment(boot: bootID, milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// The same moment as the daemon's clock has it.
    public init(_ instant: ContinuousClock.Instant, now: (BootMoment, ContinuousClock.Instant)) {
        boot = now.0.boot
        milliseconds = now.0.milliseconds + Int64((instant - now.1) / .milliseconds(1))
    }

    /// The moment on the daemon's clock; `nil` when it was in another life of the host.
    public func instant(now: (BootMoment, ContinuousClock.Instant)) -> ContinuousClock.Instant? {
        boot == now.0.boot ? now.1 + .milliseconds(milliseconds - now.0.milliseconds) : nil
    }

    private static let bootID: String = {
        let bytes = (try? SmallFile.read("/proc/sys/kernel/random/boot_id", atMost: 128)).flatMap { $0 } ?? []
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }()
}
