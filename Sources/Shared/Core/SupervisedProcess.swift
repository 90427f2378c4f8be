public import FoundationEssentials

/// A program that a project wants to run whenever its container does: a dev server, a worker.
public struct SupervisedProcess: Codable, Sendable, Equatable {
    /// Unique in the project.
    public var name: String
    /// The program and its arguments.
    public var arguments: [String]
    /// Absolute path in the container.
    public var workingDirectory: String
    public var environment: [String: String]
    /// Whom it runs as, see `ExecUserName`; the container's root unless given.
    public var user: String?
    /// `false` for one that was stopped, which can be started again by its name.
    public var isWanted: Bool
    /// Another one whenever somebody wants it anew, and never used again: what runs of a former one is ended.
    public var generation: Int

    public init(
        name: String, arguments: [String], workingDirectory: String = "/workspace", environment: [String: String] = [:],
        user: String? = nil, isWanted: Bool = true, generation: Int = 1
    ) {
        self.name = name
        self.arguments = arguments
        self.workingDirectory = workingDirectory
        self.environment = environment
        self.user = user
        self.isWanted = isWanted
        self.generation = generation
    }

    /// What its node runs. Nobody's slowness in reading its log slows it.
    public var command: ExecCommand {
        ExecCommand(
            arguments: arguments, workingDirectory: workingDirectory, environment: environment,
            timeoutMilliseconds: Limits.detachedExecTimeoutLongestSeconds * 1000, user: user, overflow: .drop)
    }

    /// Whether it is the same program, whatever is wanted of it.
    public func runs(like other: SupervisedProcess) -> Bool {
        name == other.name && arguments == other.arguments && workingDirectory == other.workingDirectory
            && environment == other.environment && user == other.user
    }
}

/// How a supervised process is.
public struct SupervisedStatus: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable, CaseIterable {
        case running
        /// It has ended by itself, or could not be started, and is started again after a pause.
        case waiting
        /// Its container is suspended, stopped or not there: it runs when that does.
        case resting
        /// Nobody wants it to run.
        case stopped
    }

    public var name: String
    public var state: State
    /// Its present run, or the last one.
    public var exec: ExecID?
    /// How often in a row it has ended by itself soon after its start.
    public var failures: Int
    /// When it is started again.
    public var retryAt: Date?
    /// Why it could not be started.
    public var problem: String?

    public init(
        name: String, state: State, exec: ExecID? = nil, failures: Int = 0, retryAt: Date? = nil, problem: String? = nil
    ) {
        self.name = name
        self.state = state
        self.exec = exec
        self.failures = failures
        self.retryAt = retryAt
        self.problem = problem
    }
}
