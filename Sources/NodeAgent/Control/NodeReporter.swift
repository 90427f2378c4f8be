public import FastableCore
import Synchronization

/// Tells the controller what this node is and runs: every few seconds, and at once when something changed.
public final class NodeReporter: Sendable {
    private let current: @Sendable () async -> NodeReport
    private let leased: @Sendable (NodeLease, ContinuousClock.Instant) -> Void
    private let imagesInUse: @Sendable ([String], ContinuousClock.Instant) -> Void
    private let calls = Mutex<ControllerCalls?>(nil)
    private let turns = Mutex(Turns())

    private struct Turns {
        /// The report that is under way, and the one that begins when it has ended.
        var current: Task<Void, any Error>?
        var next: Task<Void, any Error>?
    }

    /// - Parameters:
    ///   - leased: told how long the node may go on without a controller, and when it had asked.
    ///   - imagesInUse: told which images may not be dropped, and when it was asked.
    ///   - current: gathers what is true now.
    public init(
        leased: @escaping @Sendable (NodeLease, ContinuousClock.Instant) -> Void = { _, _ in },
        imagesInUse: @escaping @Sendable ([String], ContinuousClock.Instant) -> Void = { _, _ in },
        current: @escaping @Sendable () async -> NodeReport
    ) {
        self.leased = leased
        self.imagesInUse = imagesInUse
        self.current = current
    }

    func take(_ lease: NodeLease, asked: ContinuousClock.Instant) { leased(lease, asked) }

    public func facts() async -> NodeFacts { await current().facts }

    /// Sends a report and waits until the controller has it. Without a link this does nothing: the next hello says it all.
    public func reportNow() async { try? await turn().value }

    /// One report after the other: the parts of two must not mix. Who comes while one is under way shares the next with all others
    /// who do: it is gathered after they came.
    private func turn() -> Task<Void, any Error> {
        turns.withLock { turns in
            if let next = turns.next { return next }
            let task = Task { [previous = turns.current] in
                _ = await previous?.result
                self.turns.withLock { $0.current = $0.next.take() }
                try Task.checkCancellation()
                guard let link = calls.withLock({ $0 }) else { return }
                try await sendParts(over: link)
            }
            turns.next = task
            return task
        }
    }

    /// A report in as many parts as it takes: a single message has a limit, the number of containers has not.
    private func sendParts(over link: ControllerCalls) async throws {
        let report = await current()
        var rest = report.containers[...]
        var continues = false
        repeat {
            let first = rest.prefix(Limits.containersPerReport).map(\.briefly)
            rest = rest.dropFirst(Limits.containersPerReport)
            let part = NodeReport(
                facts: report.facts, containers: first, continues: continues, isIncomplete: !rest.isEmpty,
                switches: report.switches, starts: report.starts)
            let asked = ContinuousClock.now
            let answer = try await link.call(.report, part, returning: NodeReportAnswer.self)
            if let lease = answer.lease { leased(lease, asked) }
            if let images = answer.imagesInUse { imagesInUse(images, asked) }
            continues = true
        } while !rest.isEmpty
    }

    /// Reports until the link fails or the task is cancelled.
    func run(over link: ControllerCalls) async throws {
        calls.withLock { $0 = link }
        defer { calls.withLock { $0 = nil } }
        while true {
            let turn = turn()
            try await withTaskCancellationHandler {
                try await turn.value
            } onCancel: {
                turn.cancel()
            }
            try await Task.sleep(for: .seconds(Limits.reportIntervalSeconds))
        }
    }
}

extension ContainerStatus {
    /// The reason may quote a tool's whole output; the report has room for its beginning.
    fileprivate var briefly: ContainerStatus {
        var status = self
        status.reason = String(reason.prefix(Limits.reportReasonCharacters))
        return status
    }
}
