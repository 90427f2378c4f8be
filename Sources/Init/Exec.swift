import CLinux

/// What init knows of one command, from its request until the node releases it.
struct Exec {
    enum Phase { case free, failed, running, exited }

    /// Kill requests that wait for the last process at the same time; more are answered as busy.
    static let receiptCapacity = 4

    let input: UnsafeMutablePointer<InputStream>
    let output: UnsafeMutablePointer<OutputStream>
    let error: UnsafeMutablePointer<OutputStream>
    var phase = Phase.free
    var number: UInt32 = 0
    var pid: CInt = 0
    var startedRealtime: UInt64 = 0
    var startedMonotonic: UInt64 = 0
    /// In monotonic nanoseconds.
    var deadline: UInt64 = .max
    var duration: UInt64 = 0
    /// What the node wants to be told again.
    var note: UInt32 = 0
    var endedBySignal = false
    var endValue: CInt = 0
    var timedOut = false
    /// Why the program did not start.
    var failedStage: UInt8 = 0
    var failedErrno: CInt = 0
    /// The exit or failure was given to the present connection.
    var reported = false
    /// A kill waits for the last process.
    var awaitsEmpty = false
    /// Watched for that: `cgroup.events`; -1 also while it cannot be opened.
    var emptyWatch: CInt = -1
    var isEmptyWatched = false
    var receipts = (UInt32(0), UInt32(0), UInt32(0), UInt32(0))
    var receiptCount = 0

    init(
        input: UnsafeMutablePointer<InputStream>, output: UnsafeMutablePointer<OutputStream>,
        error: UnsafeMutablePointer<OutputStream>
    ) {
        self.input = input
        self.output = output
        self.error = error
    }

    var isUsed: Bool { phase != .free }
    var hasEnded: Bool { phase == .failed || phase == .exited }
    /// The exit can be told: all that came before it has been sent, and after a kill nobody is left.
    var exitIsDue: Bool {
        phase == .exited && !reported && !awaitsEmpty && output.pointee.settled && error.pointee.settled
    }

    mutating func end(bySignal: Bool, value: CInt, at now: UInt64) {
        phase = .exited
        endedBySignal = bySignal
        endValue = value
        duration = now &- startedMonotonic
        // What it started may still be running towards its end.
        if !timedOut { deadline = .max }
        input.pointee.close()
        output.pointee.settle()
        error.pointee.settle()
    }

    mutating func fail(stage: UInt8, errno: CInt) {
        phase = .failed
        failedStage = stage
        failedErrno = errno
        deadline = .max
        stopWatchingForEmpty()
        input.pointee.close()
        output.pointee.free()
        error.pointee.free()
    }

    mutating func rewind() {
        reported = false
        receiptCount = 0
        input.pointee.rewind()
        output.pointee.rewind()
        error.pointee.rewind()
    }

    /// Keeps a receipt for the moment when the last process is gone; `false` when too many wait.
    mutating func await(receipt: UInt32) -> Bool {
        switch receiptCount {
        case 0: receipts.0 = receipt
        case 1: receipts.1 = receipt
        case 2: receipts.2 = receipt
        case 3: receipts.3 = receipt
        default: return false
        }
        receiptCount += 1
        return true
    }

    mutating func takeReceipt() -> UInt32? {
        guard receiptCount > 0 else { return nil }
        let first = receipts.0
        receipts = (receipts.1, receipts.2, receipts.3, 0)
        receiptCount -= 1
        return first
    }

    mutating func stopWatchingForEmpty() {
        awaitsEmpty = false
        closeEmptyWatch()
    }

    mutating func closeEmptyWatch() {
        guard emptyWatch >= 0 else { return }
        _ = fastable_close(emptyWatch)
        emptyWatch = -1
        isEmptyWatched = false
    }

    mutating func free() {
        input.pointee.close()
        output.pointee.free()
        error.pointee.free()
        input.pointee = InputStream()
        output.pointee = OutputStream()
        error.pointee = OutputStream()
        stopWatchingForEmpty()
        self = Exec(input: input, output: output, error: error)
    }
}
