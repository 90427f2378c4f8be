extension Limits {
    // MARK: supervised processes
    public static let supervisedProcesses = 16
    /// Commands and variables of all of a project's processes: they travel with each command's start.
    public static let supervisedBytes = 32 * 1024
    public static let supervisedNameCharacters = 32
    /// Between the end of a process and its next start; it doubles each time that the process ends soon again.
    public static let supervisedPauseFirstSeconds = 1
    public static let supervisedPauseLongestSeconds = 60
    /// After so long a run its end is no failure to start.
    public static let supervisedSettledSeconds = 60
    /// A process that is told to end gets this long to do so by itself.
    public static let supervisedGraceSeconds = 5
    /// When its end was not confirmed, it is told again after this time.
    public static let supervisedEndRetrySeconds = 15
}
