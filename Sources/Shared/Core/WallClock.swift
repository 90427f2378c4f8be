#if canImport(Glibc)
    import Glibc
#endif

/// The wall clock, for records and certificates. Deadlines use `ContinuousClock`: a clock that is set must not fire them.
public enum WallClock {
    /// Milliseconds since 1970-01-01 UTC.
    public static func nowMilliseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(max(0, time.tv_sec)) * 1000 + UInt64(max(0, time.tv_nsec)) / 1_000_000
    }
}
