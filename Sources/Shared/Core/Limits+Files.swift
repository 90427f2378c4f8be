/// What the reading of archives and the searching of trees may hold in memory.
extension Limits {
    /// Extended and other headers that stand before one entry of a tar archive.
    public static let tarHeadersPerEntry = 64
    /// Paths that one search remembers since ignore files leave them out; each counts so much more than its bytes, which it costs.
    public static let searchIgnoredBytes = 16 * 1024 * 1024
    public static let searchIgnoredPathBytes = 64
}
