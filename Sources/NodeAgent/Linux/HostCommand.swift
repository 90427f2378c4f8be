public import FastableCore
public import FoundationEssentials

/// A tool of the host, run once. This is the only way to run one: never through a shell, in a process group of its own, with a
/// deadline, a fixed environment and no open files but the ones given.
public struct HostCommand: Sendable {
    /// A descriptor of ours that the tool gets under a number of its own. It must stay open until the tool has started.
    public struct InheritedDescriptor: Sendable {
        public var number: CInt
        public var target: CInt

        public init(_ number: CInt, as target: CInt) {
            self.number = number
            self.target = target
        }
    }

    /// Where the tool starts.
    public enum WorkingDirectory: Sendable {
        case path(String)
        /// A directory that stays open until the tool has started.
        case descriptor(CInt)
    }

    /// Whom the tool runs as, without supplementary groups, capabilities or a way to gain any.
    public struct Identity: Sendable, Equatable {
        public var user: UInt32
        public var group: UInt32

        public init(user: UInt32, group: UInt32) {
            self.user = user
            self.group = group
        }
    }

    public static let minimalEnvironment = [
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
        "HOME": "/",
    ]

    /// An absolute path, or a name that is looked up in the host's system directories.
    public var executable: String
    public var arguments: [String]
    public var environment: [String: String]
    public var standardInput: Data?
    public var inheritedDescriptors: [InheritedDescriptor]
    public var workingDirectory: WorkingDirectory
    public var identity: Identity?
    /// Private memory the tool may have, in bytes.
    public var memoryLimitBytes: Int?
    /// The control group in which it starts; that of the daemon otherwise.
    public var group: GroupEntrance?
    /// The threads that wait for it.
    package var pool = BlockingPool.shared
    /// Keeps a copy of the program in memory, from which it is run; that on the disk otherwise.
    public var sealed: SealedProgram?

    public init(
        _ executable: String, _ arguments: [String], environment: [String: String] = HostCommand.minimalEnvironment,
        standardInput: Data? = nil, inheritedDescriptors: [InheritedDescriptor] = [],
        workingDirectory: WorkingDirectory = .path("/"), identity: Identity? = nil, memoryLimitBytes: Int? = nil,
        group: GroupEntrance? = nil, sealed: SealedProgram? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.standardInput = standardInput
        self.inheritedDescriptors = inheritedDescriptors
        self.workingDirectory = workingDirectory
        self.identity = identity
        self.memoryLimitBytes = memoryLimitBytes
        self.group = group
        self.sealed = sealed
    }
}

extension HostCommand {
    /// How a process ended.
    public enum ExitStatus: Sendable, Equatable, CustomStringConvertible {
        case exited(Int32)
        case signaled(Int32)

        public var isSuccess: Bool { self == .exited(0) }
        public var description: String {
            switch self {
            case .exited(let code): "exit status \(code)"
            case .signaled(let number): "signal \(number)"
            }
        }
    }

    public struct Result: Sendable {
        public var status: ExitStatus
        public var stdout: Data
        public var stderr: Data
        public var duration: Duration
        /// Output beyond the limit was dropped.
        public var truncated: Bool
        /// What ran, for messages.
        var command: HostCommand

        public var text: String { String(decoding: stdout, as: UTF8.self) }
        public var errorText: String { String(decoding: stderr, as: UTF8.self) }

        /// This result when the tool succeeded; otherwise `internal`, with the command and what it said in the private context.
        @discardableResult
        public func checked(_ what: String) throws -> Result {
            guard !status.isSuccess else { return self }
            throw command.failure(.internal, "The node could not \(what): ‘\(command.name)’ failed.", status, stderr)
        }
    }

    /// Runs the tool to its end and collects what it prints.
    ///
    /// - Parameters:
    ///   - timeout: after it the tool and its process group are killed.
    ///   - outputLimit: bytes kept of stdout and of stderr; the rest is read and dropped.
    /// - Returns: also when the tool failed; see ``Result/checked(_:)``.
    /// - Throws: `timeout`, `cancelled`, `unavailable` when the tool is missing, `internal` when it cannot be started.
    public func run(
        timeout: Duration = .seconds(Limits.hostCommandSeconds), outputLimit: Int = Limits.hostCommandOutputBytes
    ) async throws -> Result {
        try await perform(timeout: timeout) { process in
            var stdout = BoundedOutput(limit: outputLimit)
            var result = try process.wait(timeout: timeout, outputLimit: outputLimit) { bytes in
                stdout.append(bytes)
                return true
            }
            result.stdout = stdout.data
            result.truncated = result.truncated || stdout.truncated
            return result
        }
    }

    /// Runs the tool and hands what it prints to `consume`, on a thread where it may wait; `false` means enough: the tool is
    /// killed. The result's `stdout` is empty.
    public func run(
        timeout: Duration = .seconds(Limits.hostCommandSeconds),
        consume: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Bool
    ) async throws -> Result {
        try await perform(timeout: timeout) { process in
            try process.wait(timeout: timeout, outputLimit: Limits.hostCommandOutputBytes, consume: consume)
        }
    }

    /// Runs the tool and throws `internal` unless it succeeds. `what` completes “The node could not …”.
    @discardableResult
    public func runChecked(
        _ what: String, timeout: Duration = .seconds(Limits.hostCommandSeconds),
        outputLimit: Int = Limits.hostCommandOutputBytes
    ) async throws -> Result {
        try await run(timeout: timeout, outputLimit: outputLimit).checked(what)
    }

    private func perform(
        timeout: Duration, _ body: @escaping @Sendable (RunningCommand) throws -> Result
    ) async throws -> Result {
        let control = CommandControl()
        return try await withTaskCancellationHandler {
            try await pool.run { try body(RunningCommand(starting: self, control: control)) }
        } onCancel: {
            control.kill(.cancelled)
        }
    }

    var name: String { executable.split(separator: "/").last.map(String.init) ?? executable }

    /// An error that keeps what ran, how it ended and what it said for the log.
    func failure(
        _ code: FastableError.Code, _ message: String, _ status: ExitStatus?, _ stderr: Data
    ) -> FastableError {
        let command = ([executable] + arguments).map { "‘\($0)’" }.joined(separator: " ")
        let said = String(decoding: stderr.suffix(4096), as: UTF8.self)
        let ended = status.map { "\($0)" } ?? "did not end by itself"
        return FastableError(code, message, context: "\(command): \(ended); stderr: \(said)")
    }
}

/// The first bytes of an output.
struct BoundedOutput {
    let limit: Int
    private(set) var data = Data()
    private(set) var truncated = false

    init(limit: Int) { self.limit = limit }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let room = limit - data.count
        data.append(contentsOf: bytes.prefix(room))
        if bytes.count > room { truncated = true }
    }
}
