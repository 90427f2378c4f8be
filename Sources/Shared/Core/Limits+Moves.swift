/// Projects that leave their nodes.
extension Limits {
    /// How often the controller looks which projects are to be archived or deleted, and how many it archives at a time.
    public static let archiveLookSeconds = 2
    public static let archivesAtOnce = 2
    /// First and longest pause before an archiving that failed is tried again.
    public static let archiveRetryFirstSeconds = 60
    public static let archiveRetryLongestSeconds = 6 * 3600
    /// How often the controller looks at nodes that are drained, and how many projects of one it moves at a time.
    public static let drainLookMilliseconds = 500
    public static let drainMovesAtOnce = 4
    /// Commands that a drain ends have so long to end by themselves.
    public static let drainGraceSeconds = 10
    public static let drainDeadlineSecondsHighest = 30 * 24 * 3600
    /// How soon a drain looks again whether something still works in a container.
    public static let drainWaitSeconds = 2
    /// First and longest pause before a move that failed is tried again.
    public static let moveRetryFirstSeconds = 5
    public static let moveRetryLongestSeconds = 300
    /// How often nodes are asked again to remove what they have of moves that were given up.
    public static let remainsSweepSeconds = 30
    /// How many projects of a drain are shown.
    public static let drainProjectsShown = 100
    /// How often the controller looks whether nodes are linked, and how long it waits for them after its own start before it says that
    /// they are not.
    public static let nodeLookSeconds = 2
    public static let nodePatienceSeconds = 30
    /// A node without a link for so long is lost.
    public static let nodeLostAfterSeconds = 600
    public static let nodeLostAfterSecondsLeast = 30
}
