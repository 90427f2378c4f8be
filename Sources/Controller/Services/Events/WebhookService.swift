import ControllerDomain
import ControllerStore
import Crypto
import FastableCore
import FastableIdentity
import FoundationEssentials
import Logging

/// Webhooks as their owners see them: made, listed, tried, switched on again, deleted.
final class WebhookService: Sendable {
    private let store: any Store
    private let messages: WebhookMessages
    let deliveries: WebhookDeliveries
    private let allowsPrivate: Bool

    init(
        store: any Store, authority: CertificateAuthority, configuration: ControllerServices.Configuration,
        metrics: Metrics, logger: Logger
    ) {
        self.store = store
        allowsPrivate = configuration.webhooksAllowPrivate
        messages = WebhookMessages(
            sender: configuration.webhookSender ?? WebhookSender(allowsPrivate: allowsPrivate),
            sealingKey: authority.derivedKey(for: "fastable webhook secrets"))
        deliveries = WebhookDeliveries(store: store, messages: messages, metrics: metrics, logger: logger)
    }

    /// The secret exists only in the answer. The first event that is told is the next one.
    func create(
        url: String, description: String, kinds: [String], includesFleet: Bool, in workspace: WorkspaceID
    ) async throws -> (webhook: Webhook, secret: Secret) {
        try WebhookURLRule.check(url, allowsPrivate: allowsPrivate)
        let secret = WebhookSecret()
        let id = WebhookID()
        let webhook = Webhook(
            id: id, workspace: workspace, url: url, description: description, kinds: try EventQuery.kinds(kinds),
            includesFleet: includesFleet, sealedSecret: try messages.seal(secret, for: id), createdAt: .nowMilliseconds,
            progress: Webhook.Progress(delivered: try await store.eventRange().newest))
        try await store.createWebhook(webhook)
        deliveries.wake()
        return (webhook, secret.text)
    }

    func list(in workspace: WorkspaceID) async throws -> [Webhook] { try await store.webhooks(in: workspace) }

    func delete(_ id: WebhookID, in workspace: WorkspaceID) async throws {
        try await store.deleteWebhook(id, in: workspace)
        deliveries.wake()
    }

    /// Starts again what was switched off, from the event that failed.
    func resume(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook {
        let webhook = try await store.resumeWebhook(id, in: workspace)
        deliveries.wake()
        return webhook
    }

    /// Sends an event that is none, once. `nil` when the endpoint took it, otherwise why not.
    func test(_ id: WebhookID, in workspace: WorkspaceID) async throws -> String? {
        let webhook = try await store.webhook(id, in: workspace)
        do {
            let body = try JSON.encode(EventView(testOf: webhook, at: .nowMilliseconds))
            try await messages.send(body, named: "test.\(RequestID())", to: webhook)
            return nil
        } catch let problem as WebhookProblem {
            return problem.description
        }
    }
}

/// Signs messages and sends them.
struct WebhookMessages: Sendable {
    let sender: any WebhookSending
    /// The key under which secrets are stored.
    let sealingKey: SymmetricKey

    func seal(_ secret: WebhookSecret, for webhook: WebhookID) throws -> [UInt8] {
        try secret.sealed(by: sealingKey, for: webhook)
    }

    /// - Parameter name: the same at each attempt, so that an endpoint knows what it has taken already.
    func send(_ body: Data, named name: String, to webhook: Webhook) async throws {
        let secret = try WebhookSecret.unseal(webhook.sealedSecret, by: sealingKey, for: webhook.id)
        let id = "\(webhook.id).\(name)"
        let timestamp = Date().milliseconds / 1000
        try await sender.send(
            body,
            headers: [
                ("webhook-id", id), ("webhook-timestamp", "\(timestamp)"),
                ("webhook-signature", secret.signature(id: id, timestamp: timestamp, body: body)),
            ], to: webhook.url)
    }
}
