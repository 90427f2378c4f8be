import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Logging
import Synchronization

/// Tells webhooks what happens. It takes no input but what is stored: a controller that was away goes on where it was. While nothing
/// happens and nothing is due it sleeps.
final class WebhookDeliveries: Sendable {
    private let store: any Store
    private let messages: WebhookMessages
    private let metrics: Metrics
    private let logger: Logger
    private let turns = Mutex(WebhookTurns())
    private let waker = Mutex<AsyncStream<Void>.Continuation?>(nil)

    init(store: any Store, messages: WebhookMessages, metrics: Metrics, logger: Logger) {
        self.store = store
        self.messages = messages
        self.metrics = metrics
        self.logger = logger
    }

    /// There may be something to do.
    func wake() { waker.withLock { _ = $0?.yield() } }

    /// Delivers until its task is cancelled.
    func run() async {
        let (wakes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        waker.withLock { $0 = continuation }
        var iterator = wakes.makeAsyncIterator()
        await withDiscardingTaskGroup { group in
            let signals = store.eventSignals()
            group.addTask { for await _ in signals { self.wake() } }
            while !Task.isCancelled {
                let next = await begin(in: &group)
                let timer = next.map { next in
                    Task {
                        let pause = min(
                            max(0, next.timeIntervalSince(.nowMilliseconds)), Double(Limits.webhookLookSeconds))
                        if (try? await Task.sleep(for: .seconds(pause))) != nil { wake() }
                    }
                }
                _ = await iterator.next()
                timer?.cancel()
            }
            group.cancelAll()
        }
        waker.withLock { $0 = nil }
    }

    /// Begins with what is due, and tells when to look again if nothing happens before.
    private func begin(in group: inout DiscardingTaskGroup) async -> Date? {
        do {
            let now = Date.nowMilliseconds
            let waiting = try await store.webhooksWithNews()
            let due = waiting.filter { $0.progress.isDue(at: now) }
            for webhook in turns.withLock({ $0.begin(due) }) {
                group.addTask {
                    await self.deliver(to: webhook)
                    self.turns.withLock { $0.ended(webhook.id) }
                    self.wake()
                }
            }
            for (health, count) in try await store.webhookCounts() {
                metrics.set(.webhooks, Double(count), [health.rawValue])
            }
            return waiting.filter { !$0.progress.isDue(at: now) }.compactMap(\.progress.nextAttemptAt).min()
        } catch {
            logger.warning("Webhooks could not be looked at.", metadata: ["error": "\(error)"])
            return Date.nowMilliseconds.addingTimeInterval(Self.troublePauseSeconds)
        }
    }

    private static let troublePauseSeconds = 5.0

    /// Some events, one after the other, up to the first failure.
    private func deliver(to chosen: Webhook) async {
        do {
            // Its last turn may have ended after it was read.
            let webhook = try await store.webhook(chosen.id, in: chosen.workspace)
            var progress = webhook.progress
            guard progress.isDue(at: .nowMilliseconds) else { return }
            let page = try await store.events(
                webhook.filter, after: progress.delivered, limit: Limits.webhookEventsPerTurn)
            if let gap = page.range.gap(behind: progress.delivered) {
                let body = try JSON.encode(LostEventsView(before: gap))
                guard try await attempt(body, "lost.\(gap)", gap - 1, webhook, &progress) else { return }
            }
            for event in page.events {
                let body = try JSON.encode(EventView(event))
                guard try await attempt(body, "\(event.sequence)", event.sequence, webhook, &progress) else { return }
            }
            progress.passed(page.last)
            _ = try await store.updateWebhook(webhook.id, progress)
        } catch let error as FastableError where error.code == .notFound {
            // It was deleted.
        } catch {
            logger.warning(
                "A webhook could not be served.", metadata: ["webhook": "\(chosen.id)", "error": "\(error)"])
            try? await Task.sleep(for: .seconds(Self.troublePauseSeconds))
        }
    }

    /// Sends one message and stores what came of it; `false` when nothing more is to be sent now.
    private func attempt(
        _ body: Data, _ name: String, _ sequence: Int64, _ webhook: Webhook, _ progress: inout Webhook.Progress
    ) async throws -> Bool {
        do {
            try await messages.send(body, named: name, to: webhook)
            progress.succeeded(sequence, at: .nowMilliseconds)
            metrics.add(.webhookDeliveries, 1, ["ok"])
        } catch {
            // Nobody knows whether it arrived: it is sent again.
            guard !Task.isCancelled else { return false }
            let problem =
                (error as? WebhookProblem)?.description ?? FastableError.unexpected(error, doing: "sending").message
            progress.failed(problem, at: .nowMilliseconds, random: .random(in: 0..<1))
            metrics.add(.webhookDeliveries, 1, ["failed"])
            if progress.disabledAt != nil {
                logger.warning(
                    "A webhook was switched off.", metadata: ["webhook": "\(webhook.id)", "error": "\(error)"])
            }
        }
        let exists = try await store.updateWebhook(webhook.id, progress)
        return exists && progress.attempts == 0 && !Task.isCancelled
    }
}
