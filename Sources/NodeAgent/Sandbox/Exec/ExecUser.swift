/// Whom a command runs as, in the container's own numbers.
public struct ExecUser: Sendable, Equatable {
    public var uid: UInt32
    public var gid: UInt32
    /// Supplementary ones.
    public var groups: [UInt32]

    public static let root = ExecUser(uid: 0, gid: 0)

    public init(uid: UInt32, gid: UInt32, groups: [UInt32] = []) {
        self.uid = uid
        self.gid = gid
        self.groups = groups
    }
}
