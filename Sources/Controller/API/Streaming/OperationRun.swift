import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import NIOCore

/// One running operation with its events in a queue, for answers that stream.
struct OperationRun: Sendable {
    enum Item: Sendable {
        case event(OperationEvent)
        /// The last item.
        case outcome(Result<Data, FastableError>)
    }

    /// How long the first event may take before the answer begins without it. Until then an error can still have its own status.
    static let patience = TimeAmount.seconds(5)

    /// What to do when the client goes away.
    enum Abandonment: Sendable { case cancels, goesOnUnheard }

    let queue: OutputQueue<Item>
    private let task: Task<Void, Never>
    private let abandonment: Abandonment

    /// Starts the operation in a task of its own, which ends when `request`'s client goes away, unless it goes on unheard.
    static func start(
        _ name: String, input: Data, context: OperationContext, on backend: any APIBackend, for request: APIRequest,
        wantsEvents: Bool = true, abandonment: Abandonment = .cancels
    ) -> OperationRun {
        let queue = OutputQueue<Item>(limit: Limits.streamWindowBytes)
        var context = context
        if wantsEvents {
            context.events = { event in try await queue.send(.event(event), bytes: event.byteCount) }
        }
        let settled = context
        let task = Task(executorPreference: request.executor) {
            let outcome = await Self.outcome { try await backend.run(name, input: input, context: settled) }
            queue.finish(with: .outcome(outcome))
        }
        let run = OperationRun(queue: queue, task: task, abandonment: abandonment)
        let watch = request.watch
        let number = watch.onDisconnect { run.readerHasGone() }
        run.whenEnded { watch.forget(number) }
        return run
    }

    /// Calls `action` once the operation has ended.
    func whenEnded(_ action: @escaping @Sendable () -> Void) {
        Task {
            await task.value
            action()
        }
    }

    /// Asks the operation to end; its outcome still comes.
    func cancel() { task.cancel() }

    /// The first items. An operation that fails before it did anything throws here, so that the answer has the error's status.
    func beginning(_ request: APIRequest) async throws -> [Item] {
        switch try await queue.next(on: request.eventLoop, within: Self.patience) {
        case .quiet, .finished: return []
        case .elements(let items):
            if case .outcome(.failure(let error))? = items.first { throw error }
            return items
        }
    }

    /// Gives `write` everything that comes, many items at a time, and nothing after `quietAfter` without any. Whatever ends this
    /// before the outcome came counts as the reader's going away.
    func forEachBatch(
        startingWith first: [Item], on loop: any EventLoop, quietAfter: TimeAmount?,
        _ write: ([Item]) async throws -> Void
    ) async throws {
        do {
            if !first.isEmpty { try await write(first) }
            while true {
                switch try await queue.next(on: loop, within: quietAfter) {
                case .elements(let items): try await write(items)
                case .quiet: try await write([])
                case .finished: return
                }
            }
        } catch {
            readerHasGone()
            throw error
        }
    }

    /// Nobody reads the queue any more.
    func readerHasGone() {
        if abandonment == .cancels { task.cancel() }
        queue.abandon()
    }

    private static func outcome(_ run: () async throws -> Data) async -> Result<Data, FastableError> {
        do {
            return .success(try await run())
        } catch {
            return .failure(FastableError.unexpected(error, doing: "running the operation"))
        }
    }

    /// Runs an operation whose events nobody wants; the client's going away cancels it.
    static func runToEnd(
        _ name: String, input: Data, context: OperationContext, on backend: any APIBackend, for request: APIRequest
    ) async throws -> Data {
        try await request.cancellingOnDisconnect {
            try await backend.run(name, input: input, context: context)
        }
    }
}

extension OperationEvent {
    /// What it costs to hold, roughly.
    var byteCount: Int {
        switch self {
        case .execStarted, .missing: 64
        case .output(_, let bytes): bytes.readableBytes + 64
        case .progress(let message, _): message.utf8.count + 64
        // A path, or a path and a line.
        case .found(let items): items.count * 256
        }
    }
}

extension APIRequest {
    /// Runs `work` and cancels it when the client goes away.
    func cancellingOnDisconnect<Value: Sendable>(
        _ work: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let task = Task(executorPreference: executor) { try await work() }
        let number = watch.onDisconnect { task.cancel() }
        defer { watch.forget(number) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }
}
