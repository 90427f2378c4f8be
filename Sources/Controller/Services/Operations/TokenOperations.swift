import ControllerDomain
import FastableCore
import FoundationEssentials

/// `tokens_*`: bearer tokens of the caller's workspace. For operators.
struct TokenOperations: Sendable {
    let tokens: TokenService

    var all: [Operation] { [create, list, revoke] }

    struct View: Encodable, Sendable {
        var id: TokenID
        var name: String
        var scopes: [Scope]
        var createdAt: Date
        var expiresAt: Date?
        var revokedAt: Date?
        var lastUsedAt: Date?
        /// Only in the answer that made it.
        var token: String?

        init(_ record: TokenRecord, text: Secret? = nil) {
            id = record.id
            name = record.name
            scopes = Scope.allCases.filter(record.scopes.contains)
            createdAt = record.createdAt
            expiresAt = record.expiresAt
            revokedAt = record.revokedAt
            lastUsedAt = record.lastUsedAt
            token = text?.reveal()
        }
    }

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("name", .string()),
        .required("scopes", .array(.oneOf(Scope.allCases.map(\.rawValue)))),
        .required("createdAt", .date("When it was made.")),
        .optional("expiresAt", .date("When it becomes worthless; absent when it does not expire.")),
        .optional("revokedAt", .date("When it was revoked.")),
        .optional("lastUsedAt", .date("To about a minute.")),
    ]

    struct CreateInput: Decodable, Sendable {
        var name: String
        var scopes: [Scope]?
        var expiresInSec: Int?
    }

    private var create: Operation {
        .make(
            "tokens_create",
            .init(
                "Create a token",
                "Makes a bearer token for the caller's workspace and shows it, this once. It is stored only as a hash."),
            scope: .admin, annotations: .writing(), input: CreateInput.self,
            accepts: .input([
                .required("name", .string("What it is for.", minimumBytes: 1, maximumBytes: Limits.nameBytes)),
                .optional(
                    "scopes",
                    .array(
                        .oneOf(Scope.allCases.map(\.rawValue)),
                        "What it may do; everything except admin when none are given.", maximum: Scope.allCases.count)),
                .optional(
                    "expiresInSec",
                    .integer(1...Limits.tokenSecondsHighest, "Seconds until it expires; it never does unless given.")),
            ]),
            answers: .output(
                Self.fields + [.required("token", .string("The secret. Keep it: it is shown only here."))]),
            visibleToAgents: false, hasSecretAnswer: true,
            note: { Operation.Note($0["name"]?.string?.shortened ?? "", ["scopes": $0["scopes"] ?? []]) },
            recording: { ["token": .string($0.id.description)] }
        ) { input, context in
            let scopes = Set(input.scopes ?? [])
            let made = try await tokens.create(
                name: input.name, scopes: scopes.isEmpty ? TokenService.usualScopes : scopes,
                expiresAt: input.expiresInSec.map { Date.nowMilliseconds.addingTimeInterval(Double($0)) },
                in: context.principal.workspace)
            return View(made.record, text: made.text)
        }
    }

    private struct Nothing: Decodable, Sendable {}
    struct ListAnswer: Encodable, Sendable { var tokens: [View] }

    private var list: Operation {
        .make(
            "tokens_list",
            .init(
                "List tokens", "Lists the tokens of the caller's workspace, revoked ones included; never their secrets."
            ),
            scope: .admin, annotations: .reading, input: Nothing.self, accepts: .input([]),
            answers: .output([.required("tokens", .array(.output(Self.fields)))]), visibleToAgents: false
        ) { _, context in
            ListAnswer(tokens: try await tokens.list(in: context.principal.workspace).map { View($0) })
        }
    }

    struct RevokeInput: Decodable, Sendable { var token: TokenID }

    private var revoke: Operation {
        .make(
            "tokens_revoke",
            .init(
                "Revoke a token",
                "Makes a token worthless at once, and ends what it has open: terminals, and answers that go on."),
            scope: .admin,
            annotations: .writing(destructive: true, idempotent: true), input: RevokeInput.self,
            accepts: .input([.required("token", .string("The token's id, `tok_…`; not its secret.", maximumBytes: 64))]
            ),
            answers: .output(Self.fields), visibleToAgents: false,
            // Somebody may give the secret by mistake: only an id may reach the audit.
            note: { Operation.Note($0["token"]?.string.flatMap(TokenID.init)?.description ?? "") }
        ) { input, context in
            View(try await tokens.revoke(input.token, in: context.principal.workspace))
        }
    }
}
