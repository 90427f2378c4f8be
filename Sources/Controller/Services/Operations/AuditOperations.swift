import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials

/// `audit_*`: what was asked for, by whom, and what became of it. For operators.
struct AuditOperations: Sendable {
    let store: any Store
    let log: AuditLog
    let projects: ProjectService

    var all: [Operation] { [list, verify] }

    struct ListInput: Decodable, Sendable {
        var project: String?
        var operation: String?
        var before: Int64?
        var limit: Int?
    }

    struct EventView: Encodable, Sendable {
        var sequence: Int64
        var at: Date
        /// The token's name.
        var principal: String?
        var token: TokenID?
        var door: Door
        var request: RequestID
        var operation: String
        var project: ProjectID?
        var subject: String
        var phase: String
        /// `ok` for an outcome without an error.
        var code: String?
        var detail: [String: JSONValue]

        init(_ entry: AuditEntry) {
            let event = entry.event
            sequence = entry.head.sequence
            at = Date(milliseconds: event.timeMilliseconds)
            principal = event.actor?.name
            token = event.actor?.token
            door = event.door
            request = event.request
            operation = event.operation
            project = event.project
            subject = event.subject
            phase = event.phase.rawValue
            code = event.code?.rawValue ?? (event.phase == .outcome ? "ok" : nil)
            detail = event.detail
        }
    }

    struct ListAnswer: Encodable, Sendable {
        var events: [EventView]
        var next: Int64?
    }

    private static let event = JSONSchema.output([
        .required("sequence", .count("Its place in the chain, counted from 1.")),
        .required("at", .date("When it was written.")),
        .optional("principal", .string("Name of the token that asked; absent for the platform itself.")),
        .optional("token", .string()),
        .required("door", .oneOf(Door.allCases.map(\.rawValue))),
        .required("request", .string()),
        .required("operation", .string()),
        .optional("project", .string()),
        .required("subject", .string("What was acted on.")),
        .required("phase", .oneOf(AuditEvent.Phase.allCases.map(\.rawValue))),
        .optional("code", .string("`ok` or the error's code; absent for an intent.")),
        .required("detail", .map(JSONSchema(.any))),
    ])

    private var list: Operation {
        .make(
            "audit_list",
            .init(
                "List audit events",
                "Lists the audit of the caller's workspace and of the platform, newest first: an intent before each change, an "
                    + "outcome after each operation, and what was denied."),
            scope: .admin, annotations: .reading, input: ListInput.self,
            accepts: .input([
                .optional("project", .string("Only this project: its id or name.", minimumBytes: 1, maximumBytes: 128)),
                .optional("operation", .string("Only this operation.", minimumBytes: 1, maximumBytes: 128)),
                .optional("before", .integer(1...Int.max, "`next` of the page before.")),
                .optional("limit", .integer(1...Limits.pageRows, "Events to give at most.", default: 100)),
            ]),
            answers: .output([
                .required("events", .array(Self.event)),
                .optional("next", .count("Give this as `before` for the next page; absent on the last one.")),
            ]), visibleToAgents: false
        ) { input, context in
            let limit = input.limit ?? 100
            let filter = AuditFilter(
                workspaces: [context.principal.workspace, .system],
                project: try await project(input.project, context), operation: input.operation)
            // Outcomes are written behind the answers: what ended before this question belongs to its answer.
            await log.flush()
            let entries = try await store.auditEntries(filter, before: input.before, limit: limit)
            return ListAnswer(
                events: entries.map(EventView.init), next: entries.count < limit ? nil : entries.last?.head.sequence)
        }
    }

    /// An id is taken as it is: the audit outlives projects.
    private func project(_ text: String?, _ context: OperationContext) async throws -> ProjectID? {
        guard let text else { return nil }
        if let id = ProjectID(text) { return id }
        return try await projects.resolve(text, for: context.principal).id
    }

    struct VerifyInput: Decodable, Sendable {
        var sequence: Int64?
        var hash: String?
    }

    struct VerifyAnswer: Encodable, Sendable {
        var valid: Bool
        var from: Int64
        var entries: Int64
        var brokenAt: Int64?
        var reason: String?
        var sequence: Int64
        var hash: String
    }

    private var verify: Operation {
        .make(
            "audit_verify",
            .init(
                "Verify the audit",
                "Reads the whole chain of the audit, as far as the retention keeps it, and checks that no event was changed, removed, "
                    + "added or reordered. Note "
                    + "`sequence` and `hash` of the answer elsewhere and give them to a later check: that also shows a chain that was "
                    + "written anew."),
            scope: .admin, annotations: .reading, input: VerifyInput.self,
            accepts: .input([
                .optional("sequence", .integer(0...Int.max, "From an earlier answer; needs `hash`.")),
                .optional(
                    "hash", .string("From an earlier answer; needs `sequence`.", minimumBytes: 64, maximumBytes: 64)),
            ]),
            answers: .output([
                .required("valid", .boolean()),
                .required(
                    "from",
                    .count(
                        "The first event that is kept, from which it was verified: those before were removed by the retention."
                    )
                ),
                .required("entries", .count("Events that were found good.")),
                .optional("brokenAt", .count("The first event that is not.")),
                .optional("reason", .string("What is wrong there.")),
                .required("sequence", .count("The last good event.")),
                .required("hash", .string("Its hash.")),
            ]), visibleToAgents: false
        ) { input, _ in
            await log.flush()
            let found = try await store.verifyAudit(expecting: try Self.head(input))
            return VerifyAnswer(
                valid: found.isIntact, from: found.start.sequence + 1, entries: found.checked,
                brokenAt: found.firstBreak?.sequence,
                reason: found.firstBreak?.reason, sequence: found.head.sequence, hash: Hex.encode(found.head.hash))
        }
    }

    private static func head(_ input: VerifyInput) throws -> AuditHead? {
        switch (input.sequence, input.hash) {
        case (nil, nil): return nil
        case (let sequence?, let hash?):
            guard let bytes = Hex.decode(hash) else {
                throw FastableError(
                    .unprocessable, "The field ‘hash’ must be 64 lower-case hexadecimal digits.",
                    details: ["field": "hash"])
            }
            return AuditHead(sequence: sequence, hash: bytes)
        case (nil, _?), (_?, nil):
            throw FastableError(
                .unprocessable, "‘sequence’ and ‘hash’ belong together: give both or none.",
                details: ["field": .string(input.hash == nil ? "hash" : "sequence")])
        }
    }
}
