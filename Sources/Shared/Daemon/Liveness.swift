/// Whether something still answers.
public enum Liveness {
    /// Asks, and waits no longer than `patience`. A question that is never answered goes on waiting by itself: an actor that is stuck
    /// cannot be hurried.
    public static func answers(
        within patience: Duration, _ question: @escaping @Sendable () async -> Bool
    ) async -> Bool {
        let (answers, continuation) = AsyncStream.makeStream(of: Bool.self)
        let asking = Task { continuation.yield(await question()) }
        let clock = Task {
            try? await Task.sleep(for: patience)
            continuation.yield(false)
        }
        defer {
            asking.cancel()
            clock.cancel()
        }
        for await answer in answers { return answer }
        return false
    }
}
