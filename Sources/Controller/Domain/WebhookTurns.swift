public import FastableCore

/// Which webhooks are served next, so that slow endpoints hold up nobody else: each has one delivery at a time, a workspace has a few,
/// and whoever has waited longest is first. Pure.
public struct WebhookTurns: Sendable, Equatable {
    private var running: [WebhookID: WorkspaceID] = [:]
    private var lastTurns: [WebhookID: Int] = [:]
    private var turn = 0

    public init() {}

    /// Those of `due` that begin now.
    public mutating func begin(_ due: [Webhook]) -> [Webhook] {
        let known = Set(due.map(\.id)).union(running.keys)
        lastTurns = lastTurns.filter { known.contains($0.key) }
        var perWorkspace = Dictionary(grouping: running.values) { $0 }.mapValues(\.count)
        var begun: [Webhook] = []
        let waiting = due.filter { running[$0.id] == nil }
        for webhook in waiting.sorted(by: { (lastTurns[$0.id] ?? 0, $0.id) < (lastTurns[$1.id] ?? 0, $1.id) }) {
            guard running.count < Limits.webhooksAtOnce else { break }
            guard perWorkspace[webhook.workspace, default: 0] < Limits.webhooksAtOncePerWorkspace else { continue }
            perWorkspace[webhook.workspace, default: 0] += 1
            running[webhook.id] = webhook.workspace
            turn += 1
            lastTurns[webhook.id] = turn
            begun.append(webhook)
        }
        return begun
    }

    public mutating func ended(_ webhook: WebhookID) { running[webhook] = nil }
}
