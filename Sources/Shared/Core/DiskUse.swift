/// What a project has of a disk of its own.
public struct DiskUse: Codable, Sendable, Equatable {
    public var limitBytes: Int
    /// With directories: the rest can be written.
    public var usedBytes: Int
    /// Files that can still be made; absent when their number has no limit.
    public var freeFiles: Int?

    public init(limitBytes: Int, usedBytes: Int, freeFiles: Int?) {
        self.limitBytes = limitBytes
        self.usedBytes = usedBytes
        self.freeFiles = freeFiles
    }

    /// `Its disk has 10 GiB, of which 1.2 GiB are in use.`
    public var text: String {
        "Its disk has \(Self.text(limitBytes)), of which \(Self.text(usedBytes)) are in use."
    }

    private static func text(_ bytes: Int) -> String {
        let gibibyte = 1 << 30
        guard bytes >= gibibyte else { return "\(bytes >> 20) MiB" }
        let tenths = (bytes / (gibibyte / 10))
        return "\(tenths / 10).\(tenths % 10) GiB"
    }
}
