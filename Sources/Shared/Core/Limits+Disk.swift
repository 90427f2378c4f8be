extension Limits {
    // MARK: disks of projects
    public static let containerDiskBytesHighest = 50 * 1024 * 1024 * 1024
    public static let projectDiskBytesLeast = 64 * 1024 * 1024
    /// As an operator of the node may set it.
    public static let projectDiskBytesHighest = 16 * 1024 * 1024 * 1024 * 1024
    /// The file system in it counts its space in these.
    public static let projectDiskBlockBytes = 4096
    /// For each of so many bytes that a new project may use there can be one file.
    public static let projectDiskBytesPerFile = 4096
    public static let projectDiskFilesHighest = 1 << 30
    /// A file system that is as large as its image has more than this for content.
    public static let projectDiskPercentForContent = 90
    /// A file system is so many times as large as what a new project may use, up to the ceiling: within that its limit changes at once.
    public static let projectDiskHeadroom = 8
    public static let projectDiskJournalBytes = 16 * 1024 * 1024
    /// What ext4 keeps for itself: a part of the file system, and no more than this.
    public static let projectDiskPartKeptByFileSystem = 50
    public static let projectDiskBytesKeptByFileSystem = 16 * 1024 * 1024
    /// What a container cannot fill, so that one can be started when the disk is full.
    public static let projectDiskReserveBytes = 4 * 1024 * 1024
    public static let projectDiskReserveFiles = 64
    /// Copies of a workspace leave this part of its disk free, where that is less than what a node's disk must keep.
    public static let projectDiskPartLeftByCopies = 16
}
