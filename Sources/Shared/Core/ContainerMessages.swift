public import FoundationEssentials

/// What the controller wants a project's container to be. The node keeps it on its own disk.
public struct ContainerSpec: Codable, Sendable, Equatable {
    public var project: ProjectID
    public var workspace: WorkspaceID
    public var image: String
    public var limits: ResourceLimits
    /// Environment of every exec, under what the exec itself sets.
    public var environment: [String: String]
    /// When it is suspended and stopped; the standard unless given.
    public var lifecycle: LifecyclePolicy?
    /// Which of the project's stays on nodes this is: archiving ends one. Absent for the first.
    public var stay: Int?
    /// How often its settings had been changed. Limits and lifecycle of a lower revision than the node has come late: they do not count.
    public var revision: Int?
    /// From where the node can have the image when it lacks it.
    public var pull: ImageReference?
    /// Programs that run whenever the container does. Like limits, those of a lower revision do not count.
    public var supervised: [SupervisedProcess]?

    public init(
        project: ProjectID, workspace: WorkspaceID, image: String, limits: ResourceLimits = ResourceLimits(),
        environment: [String: String] = [:], lifecycle: LifecyclePolicy? = nil, stay: Int? = nil, revision: Int? = nil,
        pull: ImageReference? = nil, supervised: [SupervisedProcess]? = nil
    ) {
        self.supervised = supervised
        self.pull = pull
        self.revision = revision
        self.lifecycle = lifecycle
        self.stay = stay
        self.project = project
        self.workspace = workspace
        self.image = image
        self.limits = limits
        self.environment = environment
    }
}

/// The states of the design's section 7. A node never tells `archived`: what is archived lies on no node.
public enum ContainerState: String, Codable, Sendable, CaseIterable {
    case absent, creating, running, suspended, stopped, archived, deleting, failed
}

/// Where a container waits for its turn to be started.
public struct StartPlace: Codable, Sendable, Equatable {
    /// 1 is the next.
    public var position: Int
    /// How many wait on the node.
    public var waiting: Int
    /// The first in line waits for the node to have enough memory.
    public var lacksMemory: Bool
    /// Until its turn comes, about; absent while nothing tells that.
    public var expectedSeconds: Int?

    public init(position: Int, waiting: Int, lacksMemory: Bool = false, expectedSeconds: Int? = nil) {
        self.position = position
        self.waiting = waiting
        self.lacksMemory = lacksMemory
        self.expectedSeconds = expectedSeconds
    }

    public var text: String {
        "The container waits for its turn to be started: it is number \(position) of \(waiting)."
            + (expectedSeconds.map { " Its turn comes in about \($0) s." } ?? "")
            + (lacksMemory ? " The node waits for memory." : "")
    }
}

/// How many containers a node starts now, and how many wait for that.
public struct StartLoad: Codable, Sendable, Equatable {
    public var running: Int
    public var waiting: Int

    public init(running: Int, waiting: Int) {
        self.running = running
        self.waiting = waiting
    }
}

public struct ContainerStatus: Codable, Sendable, Equatable {
    public var project: ProjectID
    public var state: ContainerState
    /// The incarnation; `nil` while there is none.
    public var container: ContainerID?
    public var image: String
    public var startedAt: Date?
    /// Why it is in this state, and what to do when it failed.
    public var reason: String
    public var limits: ResourceLimits
    public var runningExecs: Int
    /// When it came into this state; absent when the node does not know.
    public var since: Date?
    /// Limits that it has come to since it was started.
    public var limitHits: [LimitTally]?
    /// Since when it has had no container and nobody used its files; absent while it has one.
    public var restingSince: Date?
    /// Of its own disk; absent without one, and while it is closed.
    public var disk: DiskUse?
    /// Present while it waits for its turn to be started.
    public var queue: StartPlace?
    /// Present while it is being started.
    public var start: StartProgress?
    /// Programs that run whenever it does.
    public var supervised: [SupervisedStatus]?

    public init(
        project: ProjectID, state: ContainerState, container: ContainerID?, image: String, startedAt: Date?,
        reason: String, limits: ResourceLimits, runningExecs: Int, since: Date? = nil, limitHits: [LimitTally]? = nil,
        restingSince: Date? = nil, disk: DiskUse? = nil, queue: StartPlace? = nil,
        start: StartProgress? = nil, supervised: [SupervisedStatus]? = nil
    ) {
        self.supervised = supervised
        self.start = start
        self.queue = queue
        self.disk = disk
        self.limitHits = limitHits
        self.restingSince = restingSince
        self.since = since
        self.project = project
        self.state = state
        self.container = container
        self.image = image
        self.startedAt = startedAt
        self.reason = reason
        self.limits = limits
        self.runningExecs = runningExecs
    }
}

public struct ProjectReference: Codable, Sendable {
    public var project: ProjectID
    public init(project: ProjectID) { self.project = project }
}

/// Lets a node give a project's files up, which are saved elsewhere. Nothing of the project is left on it then.
public struct ProjectRelease: Codable, Sendable, Equatable {
    /// What was saved, and when nobody had used the project for the last time by then.
    public struct Saved: Codable, Sendable, Equatable {
        public var fingerprint: String
        public var restingSince: Date

        public init(fingerprint: String, restingSince: Date) {
            self.fingerprint = fingerprint
            self.restingSince = restingSince
        }
    }

    public var project: ProjectID
    /// The stay that ends: nothing of a later one is touched.
    public var stay: Int
    /// The files must be what they were then. Without it they are a copy that nobody ever used.
    public var saved: Saved?

    public init(project: ProjectID, stay: Int, saved: Saved?) {
        self.project = project
        self.stay = stay
        self.saved = saved
    }
}

/// Starts a command; the node makes the container first when there is none.
public struct ExecStart: Codable, Sendable {
    public var exec: ExecID
    @ContainerSpecText public var container: ContainerSpec
    public var command: ExecCommand
    /// Who starts it stays to follow it.
    public var isFollowed: Bool
    /// All that it is to read comes first, so many bytes as data on channel 0; then the command is started. `nil` when it is given
    /// nothing, or by those who follow it.
    public var inputBytes: Int?
    /// Who starts it wants no `started`: what it prints, or its end, tells it as well.
    public var skipsStarted: Bool?
    /// From when this comes until the command may not start any more; `timeout` then.
    public var startWithinMilliseconds: Int?
    /// Who starts it wants `starting`.
    public var wantsStart: Bool?

    public init(
        exec: ExecID, container: ContainerSpec, command: ExecCommand, isFollowed: Bool = true, inputBytes: Int? = nil,
        skipsStarted: Bool? = nil, startWithinMilliseconds: Int? = nil, wantsStart: Bool? = nil
    ) {
        self.wantsStart = wantsStart
        self.skipsStarted = skipsStarted
        self.startWithinMilliseconds = startWithinMilliseconds
        self.isFollowed = isFollowed
        self.inputBytes = inputBytes
        self.exec = exec
        self.container = container
        self.command = command
    }
}

public struct ExecCommand: Codable, Sendable, Equatable {
    /// The program and its arguments. A shell command is `["/bin/bash", "-c", text]`, see `shell(_:)`.
    public var arguments: [String]
    /// Absolute path in the container.
    public var workingDirectory: String
    public var environment: [String: String]
    public var timeoutMilliseconds: Int
    /// Its standard input stays open for what is sent to it; without this it reads an end of file.
    public var takesInput: Bool
    /// It runs in a terminal of this size, which is its input and its output; stderr is then part of stdout.
    public var terminal: TerminalSize?
    /// Whom it runs as, see `ExecUserName`; the container's root unless given.
    public var user: String?
    /// Further variables, whose values are masked in what the command prints.
    public var secrets: ExecSecrets?
    public var overflow: ExecOverflow

    public init(
        arguments: [String], workingDirectory: String = "/workspace", environment: [String: String] = [:],
        timeoutMilliseconds: Int = Limits.execTimeoutDefaultSeconds * 1000, takesInput: Bool = false,
        terminal: TerminalSize? = nil, user: String? = nil, secrets: ExecSecrets? = nil, overflow: ExecOverflow = .slow
    ) {
        self.overflow = overflow
        self.secrets = secrets
        self.user = user
        self.takesInput = takesInput
        self.terminal = terminal
        self.arguments = arguments
        self.workingDirectory = workingDirectory
        self.environment = environment
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// A shell command line. `fastable-init` takes `/bin/sh` in images without bash.
    public static func shell(_ text: String) -> [String] { ["/bin/bash", "-c", text] }
}

/// What becomes of a command that prints more than is kept for those who follow it.
public enum ExecOverflow: String, Codable, Sendable, CaseIterable {
    /// It is slowed down while somebody follows it, and for a minute after the last one has vanished. Then the oldest bytes go.
    case slow
    /// It is never slowed down: the oldest bytes go, and followers are told which.
    case drop
}

/// Rows and columns of characters.
public struct TerminalSize: Codable, Sendable, Equatable {
    public var rows: UInt16
    public var columns: UInt16

    public init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}

/// Where the input begins that a follower of an exec sends.
public enum ExecInputStart: Codable, Sendable, Equatable {
    /// Behind everything that has come before, also from others.
    case appending
    /// At this offset; what has come before is skipped, so a writer that lost its connection sends again what it is not sure of.
    case at(UInt64)
}

/// Follows an exec from given offsets.
public struct ExecAttach: Codable, Sendable {
    public var project: ProjectID
    public var exec: ExecID
    public var stdoutOffset: UInt64
    public var stderrOffset: UInt64
    /// Begins so many bytes before the present end of each stream, or with the first that is kept, and not before the offsets.
    public var last: UInt64?
    /// `false` ends the stream after the bytes that are there now; `finished` comes only when the command has ended.
    public var follow: Bool
    /// The only channel whose bytes are wanted; `nil` for both.
    public var channel: UInt8?
    /// Present when data on channel 0 is the command's input, the end of the stream its end, and messages are `ExecControl`.
    public var input: ExecInputStart?
    /// When it goes away before the command's end, what it has not got is kept for a while.
    public var comesAgain: Bool
    /// The name under which it comes again. It takes the place of a follower that has it already: its old connection.
    public var follower: String?

    public init(
        project: ProjectID, exec: ExecID, stdoutOffset: UInt64 = 0, stderrOffset: UInt64 = 0, last: UInt64? = nil,
        follow: Bool = true, channel: UInt8? = nil, input: ExecInputStart? = nil, comesAgain: Bool = true,
        follower: String? = nil
    ) {
        self.last = last
        self.follower = follower
        self.comesAgain = comesAgain
        self.input = input
        self.project = project
        self.exec = exec
        self.stdoutOffset = stdoutOffset
        self.stderrOffset = stderrOffset
        self.follow = follow
        self.channel = channel
    }
}

public struct ExecReference: Codable, Sendable {
    public var project: ProjectID
    public var exec: ExecID
    public init(project: ProjectID, exec: ExecID) {
        self.project = project
        self.exec = exec
    }
}

/// Ends an exec and all its descendants.
public struct ExecKill: Codable, Sendable {
    public var project: ProjectID
    public var exec: ExecID
    /// Sent to the command's process group; 9 ends everything that the command started.
    public var signal: Int32
    /// After this time everything that is left is ended; `nil` leaves it at the signal.
    public var graceMilliseconds: Int?
    public init(project: ProjectID, exec: ExecID, signal: Int32, graceMilliseconds: Int? = nil) {
        self.project = project
        self.exec = exec
        self.signal = signal
        self.graceMilliseconds = graceMilliseconds
    }
}

/// What a kill has done, as the node saw it.
public struct ExecKillReceipt: Codable, Sendable, Equatable {
    /// No process that the command started is left: its control group is empty. `false` when only a signal was sent.
    public var everythingEnded: Bool
    /// It had to be ended by force, because it did not end in time.
    public var wasForced: Bool
    /// How the command ended, when it has.
    public var result: ExecResult?

    public init(everythingEnded: Bool, wasForced: Bool, result: ExecResult?) {
        self.everythingEnded = everythingEnded
        self.wasForced = wasForced
        self.result = result
    }
}

/// Which of some commands run, and how those that ended did.
public struct ExecQuery: Codable, Sendable {
    public var project: ProjectID
    public var execs: [ExecID]
    public init(project: ProjectID, execs: [ExecID]) {
        self.project = project
        self.execs = execs
    }
}

/// What a follower of an exec may ask for beside sending input.
public enum ExecControl: Codable, Sendable, Equatable {
    case resize(TerminalSize)
    /// To the process group in the terminal's foreground; without a terminal to that of the command.
    case signal(Int32)
    /// The input ends at this offset. The end of the stream follows; when other bytes came before it, some are missing.
    case endInput(at: UInt64)
}

/// Control messages of an exec stream. The bytes themselves are data frames; their offsets follow by counting.
public enum ExecEvent: Codable, Sendable, Equatable {
    /// How far its container is, as long as that is being started; told again and again, to those who want it only.
    case starting(StartProgress)
    /// Bytes that follow begin at these offsets.
    case started(container: ContainerID, stdoutOffset: UInt64, stderrOffset: UInt64, inputOffset: UInt64)
    /// The command has been given all input before this offset.
    case inputPassed(upTo: UInt64)
    /// Bytes of a stream were dropped before this reader could have them: the next data frame begins at `to`.
    case gap(channel: UInt8, from: UInt64, to: UInt64)
    /// The last event.
    case finished(ExecResult)
}

/// How a command ended.
public struct ExecResult: Codable, Sendable, Equatable {
    public var exec: ExecID
    /// `nil` when a signal ended it.
    public var exitCode: Int32?
    /// The signal that ended it: `SIGKILL`.
    public var signal: String?
    /// `true` when the deadline ended it, with all its descendants.
    public var timedOut: Bool
    public var startedAt: Date
    public var durationMilliseconds: Double
    public var stdoutBytes: UInt64
    public var stderrBytes: UInt64
    /// It failed, and its container came to a limit while it ran.
    public var limitHit: LimitHit?

    public init(
        exec: ExecID, exitCode: Int32?, signal: String?, timedOut: Bool, startedAt: Date, durationMilliseconds: Double,
        stdoutBytes: UInt64, stderrBytes: UInt64, limitHit: LimitHit? = nil
    ) {
        self.limitHit = limitHit
        self.exec = exec
        self.exitCode = exitCode
        self.signal = signal
        self.timedOut = timedOut
        self.startedAt = startedAt
        self.durationMilliseconds = durationMilliseconds
        self.stdoutBytes = stdoutBytes
        self.stderrBytes = stderrBytes
    }
}

public struct ExecStatus: Codable, Sendable {
    public var exec: ExecID
    public var running: Bool
    public var result: ExecResult?
    /// Bytes printed so far.
    public var stdoutBytes: UInt64
    public var stderrBytes: UInt64
    public init(
        exec: ExecID, running: Bool, result: ExecResult?, stdoutBytes: UInt64 = 0, stderrBytes: UInt64 = 0
    ) {
        self.exec = exec
        self.running = running
        self.result = result
        self.stdoutBytes = stdoutBytes
        self.stderrBytes = stderrBytes
    }
}
