import Crypto
import FastableArchive
import FastableCompression
import FastableCore
import Synchronization

/// Reads a whole archive from the disk: expands it and walks through its entries, and counts everything anew.
final class ArchiveCheck: Sendable {
    struct Found: Equatable {
        var entries = 0
        var contentBytes: Int64 = 0
        var archiveBytes: Int64 = 0
        var sha256 = ""
    }

    private struct State: ~Copyable {
        var decoder: ZstdDecoder
        var reader = TarReader()
        var hash = SHA256()
        var found = Found()
    }

    private let state: Mutex<State>

    private init() throws { state = Mutex(State(decoder: try ZstdDecoder())) }

    /// - Throws: `internal` for what is no whole archive.
    static func run(_ path: String, on thread: FileThread) async throws -> Found {
        let check = try ArchiveCheck()
        let file = try StoredArchive(path)
        while let bytes = try await file.next(on: thread) {
            try await thread.run { try check.take(bytes) }
            // A few bytes can stand for gigabytes: not all at once, so that a cancellation is noticed.
            while try await thread.run({ try check.goOn() }) { try Task.checkCancellation() }
        }
        return try await thread.run { try check.finish() }
    }

    private func take(_ bytes: [UInt8]) throws {
        state.withLock { state in
            state.hash.update(data: bytes)
            state.found.archiveBytes += Int64(bytes.count)
            state.decoder.append(bytes)
        }
    }

    /// Expands some of what was taken; `false` when nothing is left of it.
    private func goOn() throws -> Bool {
        try state.withLock { state in
            var expanded = 0
            do {
                while expanded < Limits.zstdStepBytes {
                    guard let part = try state.decoder.next() else { return false }
                    expanded += part.count
                    // The reader is taken out so that its events may change the counts.
                    var reader = state.reader
                    var found = state.found
                    try reader.feed(part) { event in
                        guard case .entry(let entry) = event else { return }
                        found.entries += 1
                        // Sizes are anybody's: a sum that was not announced is refused, whatever it is.
                        found.contentBytes &+= entry.size
                    }
                    state.reader = reader
                    state.found = found
                }
            } catch { throw Self.damaged(error) }
            return true
        }
    }

    private func finish() throws -> Found {
        try state.withLock { state in
            guard state.decoder.isComplete, state.reader.isComplete else { throw Self.damaged(nil) }
            state.found.sha256 = Hex.encode(state.hash.finalize())
            return state.found
        }
    }

    private static func damaged(_ cause: (any Error)?) -> FastableError {
        FastableError(
            .internal, "The snapshot's archive is not whole on the controller's disk.",
            context: cause.map { "\($0)" } ?? "it ends too early")
    }
}

extension ArchiveCheck.Found {
    init(_ facts: SnapshotFacts) {
        self.init(
            entries: facts.entries, contentBytes: facts.contentBytes, archiveBytes: facts.archiveBytes,
            sha256: facts.sha256)
    }
}
