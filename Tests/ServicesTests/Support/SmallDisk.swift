import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// A file system of its own, in memory. Needs root.
func withSmallDisk<Value>(
    at path: String, megabytes: Int, _ body: () async throws -> Value
) async throws -> Value {
    guard mkdir(path, 0o755) == 0, mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
        throw FastableError.system(errno, cannot: "mount a small disk")
    }
    defer { umount2(path, CInt(MNT_DETACH)) }
    return try await body()
}
