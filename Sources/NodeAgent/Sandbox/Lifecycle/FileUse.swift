import FastableCore
import FoundationEssentials
import Synchronization

/// Who uses a project's files, and when somebody did for the last time. Pure but for its callers' clocks.
struct FileUses: Sendable {
    private var users = 0
    /// Rises with each use, so that one which began and ended between two looks is seen.
    private var count: UInt64 = 0
    private(set) var lastAt: Date
    /// As far as the disk knows.
    private var notedAt: Date?
    private var isClosed = false

    init(lastAt: Date, notedAt: Date?) {
        self.lastAt = lastAt
        self.notedAt = notedAt
    }

    /// - Throws: `unavailable` while the files are given up.
    mutating func begin(at now: Date) throws(FastableError) {
        guard !isClosed else {
            throw FastableError(
                .unavailable, "The project is being archived: its files are not to be had just now. Try again.",
                retryAfterSeconds: 1)
        }
        users += 1
        count += 1
        lastAt = max(lastAt, now)
    }

    mutating func end(at now: Date) {
        users -= 1
        lastAt = max(lastAt, now)
    }

    /// The number of uses so far; `nil` while one lasts.
    var atRest: UInt64? { users == 0 ? count : nil }

    /// From here on nobody begins; `false` when somebody did since that number was told.
    mutating func close(ifAtRestSince known: UInt64) -> Bool {
        guard atRest == known, !isClosed else { return false }
        isClosed = true
        return true
    }

    mutating func open() { isClosed = false }

    /// The moment that is to go onto the disk, when the one there is too old.
    mutating func takeNote() -> Date? {
        if let notedAt, lastAt < notedAt.addingTimeInterval(Double(Limits.fileUseNoteSeconds)) { return nil }
        notedAt = lastAt
        return lastAt
    }
}

/// One use of a project's files. It ends with `end`, or with its last holder.
public final class FileUse: Sendable {
    private struct State {
        var isOver = false
        var cut: UInt64?
    }

    private let activity: ProjectActivity
    private let state = Mutex(State())

    init(_ activity: ProjectActivity) { self.activity = activity }

    deinit { end() }

    /// What ends the use when the files are needed more than it is.
    public func whenCut(_ cut: @escaping @Sendable () -> Void) {
        let number = activity.onCut(cut)
        let isLate = state.withLock { state in
            if !state.isOver { state.cut = number }
            return state.isOver
        }
        if isLate { activity.uncut(number) }
    }

    public func end() {
        let ending = state.withLock { state -> State? in
            guard !state.isOver else { return nil }
            defer { state = State(isOver: true) }
            return state
        }
        guard let ending else { return }
        if let cut = ending.cut { activity.uncut(cut) }
        activity.endFiles()
    }
}
