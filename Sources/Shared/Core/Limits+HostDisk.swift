extension Limits {
    // MARK: the disk of a node
    /// A node with less space in its state directory starts no container, nor one on which fewer files can be made, whatever shares its
    /// operator sets. The levels before begin above it by this part each.
    public static let nodeDiskFreeBytesLeast = 256 * 1024 * 1024
    public static let nodeDiskFreeInodesLeast = 10_000
    public static let nodeDiskFloorPart = 4
    /// Free shares below which operators are told, what can be had again is dropped, and nothing new is taken.
    public static let diskLowPercent = 15
    public static let diskReclaimPercent = 10
    public static let diskRefusePercent = 5
    public static let diskPercentHighest = 90
    /// A level ends when this part more is free than where it begins, so that it does not come and go.
    public static let diskPressureEndPart = 8
    /// Nothing that was used or added since so long is dropped.
    public static let imageRestSeconds = 3600
    /// What the controller said of images in use counts for so long.
    public static let imagesInUseSeconds = 30
    /// More names than these are not told; no image is dropped then.
    public static let imagesInUseTold = 1000
    /// The names of dropped images that a node reports.
    public static let droppedImagesTold = 20

    // MARK: garbage
    /// What seems to be nobody's is removed when it still is after so long.
    public static let garbageSweepSeconds = 60
}
