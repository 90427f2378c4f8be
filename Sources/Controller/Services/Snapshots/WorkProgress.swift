import FastableCore

/// Tells how far a transfer has come, now and then.
struct WorkProgress {
    private let verb: String
    private let totalBytes: Int64?
    private var bytes: Int64 = 0
    private var lastTold = ContinuousClock.now

    /// - Parameter verb: `Archived`, to be followed by a number of bytes.
    init(_ verb: String, of totalBytes: Int64?) {
        self.verb = verb
        self.totalBytes = totalBytes
    }

    mutating func add(_ count: Int, _ context: OperationContext) async throws {
        bytes += Int64(count)
        guard let events = context.events,
            ContinuousClock.now - lastTold >= .milliseconds(Limits.workProgressMilliseconds)
        else { return }
        lastTold = .now
        let fraction = totalBytes.map { $0 > 0 ? min(1, Double(bytes) / Double($0)) : 1 }
        try await events(.progress(message: "\(verb) \(bytes / (1024 * 1024)) MiB.", fraction: fraction))
    }
}
