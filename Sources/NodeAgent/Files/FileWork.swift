import FastableCore
import NodeLinux
import Synchronization

/// What is under way on the files of one project: so much at a time, in the order in which it came, and never at the expense of other
/// projects. Whoever asks for a hundred copies waits for his own.
final class FileWork: Sendable {
    private let jobs = Turns(Limits.fileJobsPerProject)
    private let searches = Turns(Limits.searchesPerProject)
    private let lane = BlockingPool.Lane()
    /// Trees that are compressed or expanded.
    let compressed = Atomic(0)

    /// Runs what may wait for the disk away from Swift's own threads.
    ///
    /// - Parameter onlyIfWanted: when the caller has gone before its turn comes, `cancelled` is thrown instead.
    func run<Value: Sendable>(
        onlyIfWanted: Bool = false, _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        await jobs.take()
        defer { jobs.giveBack() }
        if onlyIfWanted, Task.isCancelled { throw Self.cancelled }
        return try await BlockingPool.files.run(in: lane, body)
    }

    /// Prepares and runs a program that searches. It may have `run` do what is between.
    func search<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        await searches.take()
        defer { searches.giveBack() }
        guard !Task.isCancelled else { throw Self.cancelled }
        return try await body()
    }

    private static let cancelled = FastableError(.cancelled, "The caller went away.")
}
