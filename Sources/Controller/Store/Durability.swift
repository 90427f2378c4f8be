import Dispatch
import FastableCore
import Glibc
import Synchronization

/// What a loss of power may take of a write that has returned. The death of the process takes nothing of either.
enum Durability: Sendable {
    /// Nothing: it is on the disk itself.
    case now
    /// The last second or so: for what comes with every command, where a write to the disk itself would be most of its time.
    case soon
}

/// Puts a write-ahead log onto the disk itself, a while after a write that did not wait for that.
final class LogSaver: Sendable {
    private let path: String
    private let queue = DispatchQueue(label: "fastable.store.saver")
    private let isDue = Mutex(false)

    /// - Parameter database: the file whose log it is.
    init(database: String) { path = database + "-wal" }

    func saveSoon() {
        let isFirst = isDue.withLock { isDue in
            defer { isDue = true }
            return !isDue
        }
        guard isFirst else { return }
        queue.asyncAfter(deadline: .now() + .milliseconds(Limits.storeSaveMilliseconds)) { [weak self] in self?.save() }
    }

    private func save() {
        // What is written from here on asks again.
        isDue.withLock { $0 = false }
        // A log that is gone is in the database, and that on the disk. SQLite keeps no lock on this file, so that it may be closed.
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        if fsync(file) != 0 { saveSoon() }
    }
}
