/// What a node keeps of commands that have ended.
extension Limits {
    /// How long a node keeps the results of finished execs, …
    public static let finishedExecDays = 7
    /// … of how many per project at most: so many in each of so many files. That is 2 million in 384 MiB, and 32 MiB of indexes. …
    public static let endedResultsPerFile = 128 * 1024
    public static let endedResultFiles = 16
    /// … Of so many of them, the newest, output and why they did not start are kept too.
    public static let finishedExecsKept = 50_000
    /// Output of finished execs that a node keeps, per project; the oldest goes first.
    public static let finishedExecOutputBytes = 512 * 1024 * 1024
    /// First and longest pause before the result of a command, which the disk did not take, is written again.
    public static let execRecordRetryFirstMilliseconds = 100
    public static let execRecordRetryLongestMilliseconds = 10_000
    /// The results of commands that end within so long are written together.
    public static let execRecordGatherMilliseconds = 5
    /// How a command ended is safe from a loss of power after so long.
    public static let execResultsSaveMilliseconds = 1000
}
