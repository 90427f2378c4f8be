import ControllerDomain
import ControllerStore
import Crypto
import FastableCore
import FoundationEssentials
import Logging

/// Webhooks: made, listed, deleted, and told what happens.
final class WebhookService: Sendable {
    private let store: any Store
    private let log: EventLog
    private let sender: any WebhookSending
    private let sealingKey: SymmetricKey
    private let allowsPrivate: Bool
    private let metrics: Metrics
    private let logger: Logger

    init(
        store: any Store, log: EventLog, sender: any WebhookSending, sealingKey: SymmetricKey, allowsPrivate: Bool,
        metrics: Metrics, logger: Logger
    ) {
        self.store = store
        self.log = log
        self.sender = sender
        self.sealingKey = sealingKey
        self.allowsPrivate = allowsPrivate
        self.metrics = metrics
        self.logger = logger
    }

    /// The secret exists only in the answer. The first event that is told is the next one.
    func create(
        url: String, description: String, kinds: [String], in workspace: WorkspaceID
    ) async throws -> (webhook: Webhook, secret: Secret) {
        try WebhookURLRule.check(url, allowsPrivate: allowsPrivate)
        let secret = WebhookSecret()
        let id = WebhookID()
        let webhook = Webhook(
            id: id, workspace: workspace, url: url, description: description, kinds: try EventQuery.kinds(kinds),
            sealedSecret: try secret.sealed(by: sealingKey, for: id), createdAt: .nowMilliseconds,
            progress: Webhook.Progress(delivered: try await store.eventRange().newest))
        try await store.createWebhook(webhook)
        return (webhook, secret.text)
    }

    func list(in workspace: WorkspaceID) async throws -> [Webhook] { try await store.webhooks(in: workspace) }

    func delete(_ id: WebhookID, in workspace: WorkspaceID) async throws {
        try await store.deleteWebhook(id, in: workspace)
    }

    /// Starts again what was switched off, from the event that failed.
    func resume(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook {
        var webhook = try await store.webhook(id, in: workspace)
        webhook.progress.resumed()
        try await store.updateWebhook(id, webhook.progress)
        return webhook
    }

    // MARK: deliveries

    /// Delivers what is due until its task is cancelled. It takes no input but what is stored: a controller that was away goes on
    /// where it was.
    func run() async {
        var signals = log.signals().makeAsyncIterator()
        while !Task.isCancelled {
            await round(now: .nowMilliseconds)
            await Self.pause(&signals)
        }
    }

    /// A moment, so that events which come together go out together, and then until there is something to look at.
    private static func pause(_ signals: inout AsyncStream<Void>.Iterator) async {
        try? await Task.sleep(for: .seconds(Limits.webhookRoundSeconds))
        _ = signals
    }

    /// One look at all webhooks; each that is due is told what waits for it.
    func round(now: Date) async {
        do {
            let due = try await store.webhooks(in: nil).filter { $0.progress.isDue(at: now) }
            guard !due.isEmpty else { return }
            let newest = try await store.eventRange().newest
            await withTaskGroup(of: Void.self) { group in
                for (index, webhook) in due.filter({ $0.progress.delivered < newest }).enumerated() {
                    if index >= Limits.webhookDeliveriesAtOnce { await group.next() }
                    group.addTask { await self.deliver(to: webhook) }
                }
            }
        } catch {
            logger.warning("Webhooks could not be looked at.", metadata: ["error": "\(error)"])
        }
    }

    /// One page of events, one after the other, up to the first failure.
    private func deliver(to webhook: Webhook) async {
        var progress = webhook.progress
        do {
            let secret = try WebhookSecret.unseal(webhook.sealedSecret, by: sealingKey, for: webhook.id)
            let page = try await store.events(webhook.filter, after: progress.delivered, limit: Limits.pageRows)
            for event in page.events where progress.isDue(at: .nowMilliseconds) {
                await attempt(event, webhook, secret, &progress)
                try await store.updateWebhook(webhook.id, progress)
                guard progress.attempts == 0, !Task.isCancelled else { return }
            }
            progress.passed(page.last)
            try await store.updateWebhook(webhook.id, progress)
        } catch {
            logger.warning(
                "A webhook could not be served.", metadata: ["webhook": "\(webhook.id)", "error": "\(error)"])
        }
    }

    private func attempt(
        _ event: StoredEvent, _ webhook: Webhook, _ secret: WebhookSecret, _ progress: inout Webhook.Progress
    ) async {
        do {
            let body = try JSON.encode(EventView(event))
            // The same at each attempt, so that an endpoint knows what it has taken already.
            let id = "\(webhook.id).\(event.sequence)"
            let timestamp = Date().milliseconds / 1000
            try await sender.send(
                body,
                headers: [
                    ("webhook-id", id), ("webhook-timestamp", "\(timestamp)"),
                    ("webhook-signature", secret.signature(id: id, timestamp: timestamp, body: body)),
                ], to: webhook.url)
            progress.succeeded(event.sequence, at: .nowMilliseconds)
            metrics.add(.webhookDeliveries, 1, ["ok"])
        } catch is CancellationError {
            return
        } catch {
            progress.failed("\(error)", at: .nowMilliseconds, random: .random(in: 0..<1))
            metrics.add(.webhookDeliveries, 1, ["failed"])
            guard progress.disabledAt != nil else { return }
            logger.warning("A webhook was switched off.", metadata: ["webhook": "\(webhook.id)", "error": "\(error)"])
        }
    }
}
