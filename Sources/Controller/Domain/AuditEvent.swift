public import FastableCore
public import FoundationEssentials

/// Through which door a request came.
public enum Door: String, Codable, Sendable, CaseIterable {
    case rest, mcp
    /// The node listener.
    case link
    /// The controller itself: clean-up, first start.
    case system
}

/// One line of the audit: who asked for what, or what became of it. Chained, see `AuditEntry`.
public struct AuditEvent: Sendable, Equatable {
    public enum Phase: String, Sendable, CaseIterable {
        /// Written before the operation begins.
        case intent
        /// Written when it ended.
        case outcome
        /// It was refused, and nothing was done.
        case denied
    }

    /// Who asked. The name is kept beside the id, since tokens are renamed and removed.
    public struct Actor: Sendable, Equatable {
        public var token: TokenID
        public var name: String

        public init(token: TokenID, name: String) {
            self.token = token
            self.name = name
        }
    }

    /// Milliseconds since 1970-01-01 UTC.
    public var timeMilliseconds: Int64
    /// The workspace whose audit this belongs to; `WorkspaceID.system` for the platform's own.
    public var workspace: WorkspaceID
    /// `nil` when nobody was authenticated.
    public var actor: Actor?
    public var door: Door
    public var request: RequestID
    public var operation: String
    public var project: ProjectID?
    /// What was acted on: a path, a node's name, an exec's id. May be empty.
    public var subject: String
    public var phase: Phase
    /// Why it failed or was refused; `nil` for an intent and for success.
    public var code: FastableError.Code?
    public var detail: [String: JSONValue]

    public init(
        timeMilliseconds: Int64, workspace: WorkspaceID, actor: Actor?, door: Door, request: RequestID,
        operation: String, project: ProjectID? = nil, subject: String = "", phase: Phase,
        code: FastableError.Code? = nil, detail: [String: JSONValue] = [:]
    ) {
        self.timeMilliseconds = timeMilliseconds
        self.workspace = workspace
        self.actor = actor
        self.door = door
        self.request = request
        self.operation = operation
        self.project = project
        self.subject = subject
        self.phase = phase
        self.code = code
        self.detail = detail
    }
}

extension AuditEvent {
    /// The bytes that the chain protects: a version, then every field with its length in front, so that no two events
    /// share them. `detailText` is the stored JSON of `detail`; it is protected as written, not as it would be
    /// written again.
    public func canonicalBytes(detailText: String) -> [UInt8] {
        var bytes: [UInt8] = [1]
        bytes.reserveCapacity(256 + detailText.utf8.count)
        let fields: [String?] = [
            workspace.description, actor?.token.description, actor?.name, door.rawValue, request.description, operation,
            project?.description, subject, phase.rawValue, code?.rawValue, detailText,
        ]
        Self.append(UInt64(bitPattern: timeMilliseconds), to: &bytes)
        for field in fields {
            // A missing field must not equal an empty one.
            guard let field else {
                Self.append(UInt32.max, to: &bytes)
                continue
            }
            Self.append(UInt32(clamping: field.utf8.count), to: &bytes)
            bytes.append(contentsOf: field.utf8)
        }
        return bytes
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}

extension AuditEvent {
    private static let pruneOperation = "audit_prune"

    /// Says that the retention removed all events up to one.
    public static func prune(through last: AuditHead, count: Int, at now: Date) -> AuditEvent {
        AuditEvent(
            timeMilliseconds: now.milliseconds, workspace: .system, actor: nil, door: .system, request: RequestID(),
            operation: pruneOperation, phase: .outcome,
            detail: [
                "through": .integer(last.sequence), "hash": .string(Hex.encode(last.hash)),
                "removed": .integer(Int64(count)),
            ])
    }

    /// Whether this is what `prune` made for that event. The detail is given as it was stored.
    public func prunes(through last: AuditHead, detailText: String) -> Bool {
        guard operation == Self.pruneOperation, workspace == .system, actor == nil, door == .system, phase == .outcome,
            let detail = try? JSON.decode([String: JSONValue].self, from: Data(detailText.utf8))
        else { return false }
        return detail["through"] == .integer(last.sequence) && detail["hash"] == .string(Hex.encode(last.hash))
    }
}

/// The place and the hash of an event in the chain: `hash = SHA-256(previous hash ‖ sequence ‖ canonical bytes)`.
public struct AuditHead: Sendable, Equatable {
    /// Counted from 1 without gaps; 0 is the beginning, before the first event.
    public var sequence: Int64
    public var hash: [UInt8]

    public init(sequence: Int64, hash: [UInt8]) {
        self.sequence = sequence
        self.hash = hash
    }

    /// What the first event follows.
    public static let beginning = AuditHead(sequence: 0, hash: [UInt8](repeating: 0, count: 32))
}

/// A stored event.
public struct AuditEntry: Sendable, Equatable {
    public var head: AuditHead
    public var event: AuditEvent

    public init(head: AuditHead, event: AuditEvent) {
        self.head = head
        self.event = event
    }
}

/// Which events to list. `nil` means any.
public struct AuditFilter: Sendable, Equatable {
    public var workspaces: Set<WorkspaceID>?
    public var project: ProjectID?
    public var operation: String?

    public init(workspaces: Set<WorkspaceID>?, project: ProjectID? = nil, operation: String? = nil) {
        self.workspaces = workspaces
        self.project = project
        self.operation = operation
    }
}

/// What the check of the whole chain found.
public struct AuditVerification: Sendable, Equatable {
    /// The first place where the chain does not hold.
    public struct Break: Sendable, Equatable {
        public var sequence: Int64
        /// What is wrong there, for people.
        public var reason: String

        public init(sequence: Int64, reason: String) {
            self.sequence = sequence
            self.reason = reason
        }
    }

    /// How many events were found good.
    public var checked: Int64
    public var firstBreak: Break?
    /// What the first event that is kept follows: the beginning, or the last event that was pruned.
    public var start: AuditHead
    /// The last good event. Kept elsewhere and given to the next check, it shows a chain that was cut or written anew.
    public var head: AuditHead

    public init(checked: Int64, firstBreak: Break?, start: AuditHead = .beginning, head: AuditHead) {
        self.checked = checked
        self.firstBreak = firstBreak
        self.start = start
        self.head = head
    }

    public var isIntact: Bool { firstBreak == nil }
}
