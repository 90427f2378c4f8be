public import ControllerDomain
public import FastableCore
import FoundationEssentials
public import NIOCore

/// Who asks, through which door, and where to tell what happens meanwhile.
public struct OperationContext: Sendable {
    public var principal: Principal
    public var requestID: RequestID
    public var door: Door
    /// Called in order and awaited: a slow reader slows the command. When it throws, the operation ends, and a command
    /// that it runs is killed.
    public var events: (@Sendable (OperationEvent) async throws -> Void)?
    /// `false` leaves stdout and stderr out of the answer of `shell.exec`, for doors that stream them byte for byte.
    public var collectsOutput: Bool
    /// `false` leaves out of the answers of `fs.glob` and `fs.grep` what was told as events.
    public var collectsFound = true
    /// Names a change so that a retry does not do it twice. Such a change goes on when its caller goes away.
    public var idempotencyKey: String?
    /// How long the key is remembered: longer than its owner may ask again.
    public var idempotencySeconds = Limits.onceSeconds
    /// The command that the operation runs, when that must be known before.
    var attempt: Attempt?
    /// The intent of a command, when the operation stores it with the command's record.
    var intent: AuditEvent?

    public init(
        principal: Principal, requestID: RequestID, door: Door,
        events: (@Sendable (OperationEvent) async throws -> Void)? = nil, collectsOutput: Bool = true,
        idempotencyKey: String? = nil
    ) {
        self.principal = principal
        self.requestID = requestID
        self.door = door
        self.events = events
        self.collectsOutput = collectsOutput
        self.idempotencyKey = idempotencyKey
    }

    /// One of several tries to do the same once.
    struct Attempt: Sendable {
        enum Kind: Sendable {
            case first
            /// An earlier one may have started the command.
            case again
            /// The command has ended: its output is read once more, and it is never started.
            case reading
        }

        var exec: ExecID
        var kind: Kind
    }
}

/// What happens while an operation runs.
public enum OperationEvent: Sendable {
    case execStarted(ExecID)
    /// Channel 1 is stdout, 2 is stderr. Bytes are complete and in order within a channel.
    case output(channel: UInt8, ByteBuffer)
    /// Output between these offsets is no longer kept; what follows on the channel begins at `to`.
    case missing(channel: UInt8, from: UInt64, to: UInt64)
    /// What a search has found, in the words of its answer; never empty.
    case found([JSONValue])
    /// `fraction` is between 0 and 1, `nil` when it cannot be told.
    case progress(message: String, fraction: Double?)
}

/// One thing that can be asked for: the single definition that every door is derived from.
public struct Operation: Sendable {
    /// What a caller may expect, in the words of MCP's tool annotations.
    public struct Annotations: Sendable, Equatable {
        public var isReadOnly: Bool
        /// It may destroy what was there.
        public var isDestructive: Bool
        /// Doing it twice has the effect of doing it once.
        public var isIdempotent: Bool
        /// It touches things outside the platform, the internet for example.
        public var isOpenWorld: Bool

        public static let reading = Annotations(
            isReadOnly: true, isDestructive: false, isIdempotent: true, isOpenWorld: false)

        public static func writing(
            destructive: Bool = false, idempotent: Bool = false, openWorld: Bool = false
        ) -> Annotations {
            Annotations(isReadOnly: false, isDestructive: destructive, isIdempotent: idempotent, isOpenWorld: openWorld)
        }
    }

    /// What people and agents read.
    public struct Words: Sendable {
        public var title: String
        public var summary: String

        public init(_ title: String, _ summary: String) {
            self.title = title
            self.summary = summary
        }
    }

    /// What the audit keeps of an input: never contents of files, values of variables, or secrets.
    public struct Note: Sendable {
        /// What is acted on: a path, a node's name, an exec's id.
        public var subject: String
        public var detail: [String: JSONValue]

        public init(_ subject: String = "", _ detail: [String: JSONValue] = [:]) {
            self.subject = subject
            self.detail = detail
        }

        /// A path in the workspace; the workspace itself when there is none.
        static func path(_ path: String?) -> Note { Note(path.map { $0.cut(to: Limits.auditPathCharacters) } ?? ".") }
    }

    /// What a retry does when nobody knows how the attempt before it ended.
    enum Recovery: Sendable {
        /// Twice has the effect of once.
        case runAgain
        /// The command's id tells whether it was started.
        case followCommand
        /// It tells that it does not know, and the caller looks.
        case refuse
    }

    /// A checked input on its way to the handler.
    struct Call: Sendable {
        var input: JSONValue
        /// The project that the input's field `project` names, when the operation has one.
        var project: Project?
        var context: OperationContext
    }

    /// The answer as JSON, and what the audit keeps of it.
    struct Answer: Sendable {
        var output: Data
        var detail: [String: JSONValue]
    }

    public let name: String
    public let title: String
    public let summary: String
    public let scope: Scope
    public let annotations: Annotations
    public let inputSchema: JSONSchema
    public let outputSchema: JSONSchema
    /// Whether MCP lists it as a tool.
    public let visibleToAgents: Bool
    /// Whether the input's field `project` names a project, which must be one of the caller's workspace.
    public let actsOnProject: Bool
    let recovery: Recovery
    /// It does little more than to pass on what a node says, so the event loop of its connection carries it out.
    private(set) var isRelay = false
    /// Whether its answer is stored nowhere.
    let hasSecretAnswer: Bool
    let note: @Sendable (JSONValue) -> Note
    let handle: @Sendable (Call) async throws -> Answer
}

extension Operation {
    /// Those whose answers may be long are left to Swift's threads.
    private static let withLongAnswers: Set<String> = ["fs.list", "fs.glob", "fs.grep", "shell.list", "shell.output"]

    var relayed: Operation {
        var operation = self
        operation.isRelay = !Self.withLongAnswers.contains(name)
        return operation
    }
}

extension Operation {
    /// An operation whose handler takes and gives typed values.
    ///
    /// - Parameters:
    ///   - note: what the audit keeps of the input.
    ///   - recording: what the audit keeps of the answer.
    public static func make<Input: Decodable & Sendable, Output: Encodable & Sendable>(
        _ name: String, _ words: Words, scope: Scope, annotations: Annotations, input: Input.Type,
        accepts inputSchema: JSONSchema, answers outputSchema: JSONSchema, visibleToAgents: Bool = true,
        hasSecretAnswer: Bool = false,
        note: @escaping @Sendable (JSONValue) -> Note = { _ in Note() },
        recording: @escaping @Sendable (Output) -> [String: JSONValue] = { _ in [:] },
        handler: @escaping @Sendable (Input, OperationContext) async throws -> Output
    ) -> Operation {
        Operation(
            name: name, title: words.title, summary: words.summary, scope: scope, annotations: annotations,
            inputSchema: inputSchema, outputSchema: outputSchema, visibleToAgents: visibleToAgents,
            actsOnProject: false, recovery: annotations.isIdempotent ? .runAgain : .refuse,
            hasSecretAnswer: hasSecretAnswer, note: note
        ) { call in
            let output = try await handler(try JSON.decode(Input.self, from: call.input), call.context)
            return Answer(output: try JSON.encode(output), detail: recording(output))
        }
    }

    /// An operation on a project; the field `project` is put in front of `fields`.
    public static func onProject<Input: Decodable & Sendable, Output: Encodable & Sendable>(
        _ name: String, _ words: Words, scope: Scope, annotations: Annotations, input: Input.Type,
        fields: [JSONSchema.Property], answers outputSchema: JSONSchema, runsCommand: Bool = false,
        note: @escaping @Sendable (JSONValue) -> Note = { _ in Note() },
        recording: @escaping @Sendable (Output) -> [String: JSONValue] = { _ in [:] },
        handler: @escaping @Sendable (Input, Project, OperationContext) async throws -> Output
    ) -> Operation {
        Operation(
            name: name, title: words.title, summary: words.summary, scope: scope, annotations: annotations,
            inputSchema: .input([.required("project", projectSchema)] + fields), outputSchema: outputSchema,
            visibleToAgents: true, actsOnProject: true,
            recovery: runsCommand ? .followCommand : annotations.isIdempotent ? .runAgain : .refuse,
            hasSecretAnswer: false, note: note
        ) { call in
            guard let project = call.project else {
                throw FastableError(.internal, "‘\(name)’ needs a project and got none.")
            }
            let output = try await handler(try JSON.decode(Input.self, from: call.input), project, call.context)
            return Answer(output: try JSON.encode(output), detail: recording(output))
        }
    }

    private static let projectSchema = JSONSchema.string(
        "The project: its name or its id.", minimumBytes: 1, maximumBytes: 128)
}
