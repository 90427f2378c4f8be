import ControllerDomain
import FastableCore
import FoundationEssentials

/// `webhooks_*`: addresses that are told what happens in the caller's workspace. For operators.
struct WebhookOperations: Sendable {
    let webhooks: WebhookService

    var all: [Operation] { [create, list, test, resume, delete] }

    struct View: Encodable, Sendable {
        var id: WebhookID
        var url: String
        var description: String
        var kinds: [String]
        var fleet: Bool
        var state: String
        var createdAt: Date
        /// The last event that it took, or that was passed over.
        var delivered: String
        var attempts: Int
        var failingSince: Date?
        var nextAttemptAt: Date?
        var lastProblem: String?
        var lastSuccessAt: Date?
        var disabledAt: Date?
        /// Only in the answer that made it.
        var secret: String?

        init(_ webhook: Webhook, secret: Secret? = nil) {
            let progress = webhook.progress
            id = webhook.id
            url = webhook.url
            description = webhook.description
            kinds = webhook.kinds.map(\.rawValue).sorted()
            fleet = webhook.includesFleet
            state = progress.health.rawValue
            createdAt = webhook.createdAt
            delivered = String(progress.delivered)
            attempts = progress.attempts
            failingSince = progress.failingSince
            nextAttemptAt = progress.nextAttemptAt
            lastProblem = progress.lastProblem
            lastSuccessAt = progress.lastSuccessAt
            disabledAt = progress.disabledAt
            self.secret = secret?.reveal()
        }
    }

    private static let fields: [JSONSchema.Property] = [
        .required("id", .string()),
        .required("url", .string()),
        .required("description", .string()),
        .required("kinds", .array(.string(), "Empty for all.")),
        .required("fleet", .boolean("It is told of nodes, too.")),
        .required("state", .oneOf(Webhook.Progress.Health.allCases.map(\.rawValue))),
        .required("createdAt", .date("When it was made.")),
        .required("delivered", .string("The last event that it was told, or that it does not want.")),
        .required("attempts", .count("Failed attempts for the next one.")),
        .optional("failingSince", .date("The first failure since the last success.")),
        .optional("nextAttemptAt", .date("When it is tried again.")),
        .optional("lastProblem", .string("Why the last attempt failed.")),
        .optional("lastSuccessAt", .date("When it took an event last.")),
        .optional("disabledAt", .date("When it was switched off; `webhooks_resume` switches it on again.")),
    ]

    // MARK: create

    struct CreateInput: Decodable, Sendable {
        var url: String
        var description: String?
        var kinds: [String]?
        var fleet: Bool?
    }

    private var create: Operation {
        .make(
            "webhooks_create",
            .init(
                "Create a webhook",
                "Tells an address what happens in the workspace from now on: every event by a signed POST, in order, again until it is "
                    + "answered with 2xx. The secret for checking signatures is shown this once."),
            scope: .admin, annotations: .writing(openWorld: true), input: CreateInput.self,
            accepts: .input([
                .required(
                    "url",
                    .string(
                        "https://…, with a name or address on the public internet.", minimumBytes: 1,
                        maximumBytes: Limits.webhookURLBytes)),
                .optional("description", .string("What it is for.", maximumBytes: Limits.webhookDescriptionBytes)),
                EventOperations.kinds,
                .optional("fleet", .boolean("Tell it of nodes that come and go, too.", default: false)),
            ]),
            answers: .output(
                Self.fields + [.required("secret", .string("The secret. Keep it: it is shown only here."))]),
            visibleToAgents: false, hasSecretAnswer: true,
            // What stands behind the host may be a secret of the endpoint.
            note: { Operation.Note($0["url"]?.string.map(Self.hostOnly) ?? "", ["kinds": $0["kinds"] ?? []]) },
            recording: { ["webhook": .string($0.id.description)] }
        ) { input, context in
            let made = try await webhooks.create(
                url: input.url, description: input.description ?? "", kinds: input.kinds ?? [],
                includesFleet: input.fleet ?? false, in: context.principal.workspace)
            return View(made.webhook, secret: made.secret)
        }
    }

    private static func hostOnly(_ url: String) -> String { URL(string: url)?.host?.shortened ?? "" }

    // MARK: looking

    private struct Nothing: Decodable, Sendable {}
    struct ListAnswer: Encodable, Sendable { var webhooks: [View] }

    private var list: Operation {
        .make(
            "webhooks_list",
            .init(
                "List webhooks",
                "Lists the webhooks of the workspace and how their deliveries are; never their secrets."),
            scope: .admin, annotations: .reading, input: Nothing.self, accepts: .input([]),
            answers: .output([.required("webhooks", .array(.output(Self.fields)))]), visibleToAgents: false
        ) { _, context in
            ListAnswer(webhooks: try await webhooks.list(in: context.principal.workspace).map { View($0) })
        }
    }

    // MARK: one of them

    struct OneInput: Decodable, Sendable { var webhook: WebhookID }

    private static let one = JSONSchema.input([
        .required("webhook", .string("The webhook's id, `whk_…`.", maximumBytes: 64))
    ])

    private static func note(_ input: JSONValue) -> Operation.Note {
        Operation.Note(input["webhook"]?.string?.shortened ?? "")
    }

    struct TestAnswer: Encodable, Sendable {
        var delivered: Bool
        var problem: String?
    }

    private var test: Operation {
        .make(
            "webhooks_test",
            .init(
                "Try a webhook",
                "Sends the webhook an event of the kind `webhook.test` at once and tells whether it was taken. Its other deliveries "
                    + "do not change."),
            scope: .admin, annotations: .writing(idempotent: true, openWorld: true), input: OneInput.self,
            accepts: Self.one,
            answers: .output([
                .required("delivered", .boolean("The endpoint answered with 2xx.")),
                .optional("problem", .string("What went wrong.")),
            ]), visibleToAgents: false, note: Self.note,
            recording: { ["delivered": .bool($0.delivered)] }
        ) { input, context in
            let problem = try await webhooks.test(input.webhook, in: context.principal.workspace)
            return TestAnswer(delivered: problem == nil, problem: problem)
        }
    }

    private var resume: Operation {
        .make(
            "webhooks_resume",
            .init(
                "Resume a webhook",
                "Switches a webhook on again, or tries a failing one at once: it goes on with the event that failed."),
            scope: .admin, annotations: .writing(idempotent: true), input: OneInput.self, accepts: Self.one,
            answers: .output(Self.fields), visibleToAgents: false, note: Self.note
        ) { input, context in
            View(try await webhooks.resume(input.webhook, in: context.principal.workspace))
        }
    }

    struct DeleteAnswer: Encodable, Sendable { var id: WebhookID }

    private var delete: Operation {
        .make(
            "webhooks_delete", .init("Delete a webhook", "Deletes a webhook: it is told nothing more."), scope: .admin,
            annotations: .writing(destructive: true), input: OneInput.self, accepts: Self.one,
            answers: .output([.required("id", .string())]), visibleToAgents: false, note: Self.note
        ) { input, context in
            try await webhooks.delete(input.webhook, in: context.principal.workspace)
            return DeleteAnswer(id: input.webhook)
        }
    }
}
