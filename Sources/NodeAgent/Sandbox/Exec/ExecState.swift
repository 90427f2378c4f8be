package import FastableCore
package import NIOCore

/// An exec as the node sees it: two output streams, how it ended, and where each reader is. Pure; `ExecSession` performs.
package struct ExecState {
    package enum Outcome {
        case finished(ExecResult)
        /// It did not start, or nobody knows how it ended.
        case failed(FastableError)
    }

    /// What a reader does next.
    package enum Step {
        case chunk(ExecChunk)
        /// Read these bytes from the spool file, then tell how far it went.
        case file(channel: UInt8, offset: UInt64, count: Int)
        case wait
        case end
        case failure(FastableError)
    }

    /// What is to be done after output has come, or room for it.
    package struct Admission {
        /// To be written to the spool file.
        package var chunks: [ExecLog.Chunk] = []
        /// Who has waited for it.
        package var waiters: [CheckedContinuation<Void, Never>] = []
        /// Bytes that are held back may go on then.
        package var tryAgainAt: ExecFollowers.Instant?
        /// To be told to init.
        package var note: UInt32?
    }

    package struct Reader {
        var stdout: Cursor
        var stderr: Cursor
        /// The only stream that it wants; `nil` for both.
        var channel: UInt8?
        /// When it goes away before the end, it may come back, perhaps under a name.
        var follows: Bool
        var name: String?
        var hasStarted = false
        var hasEnded = false
        /// How much of the input it knows to be passed on; `nil` when it does not want to know.
        var inputTold: UInt64?
        /// Which stream is looked at first, so that one cannot starve the other.
        var turn: UInt8 = 1
        /// The state that its last step saw.
        var seen = 0
        /// Present while it has nothing to do.
        var waiter: CheckedContinuation<Void, Never>?

        subscript(channel: UInt8) -> Cursor {
            get { channel == 1 ? stdout : stderr }
            set { if channel == 1 { stdout = newValue } else { stderr = newValue } }
        }

        func wants(_ channel: UInt8) -> Bool { self.channel.map { $0 == channel } ?? true }

        /// It has not got all of the stream that it came for.
        func needs(_ channel: UInt8) -> Bool { wants(channel) && self[channel].offset < self[channel].most }

        var place: ExecFollowers.Place {
            ExecFollowers.Place(
                stdout: wants(1) ? stdout.offset : nil, stderr: wants(2) ? stderr.offset : nil)
        }
    }

    struct Cursor {
        var offset: UInt64
        /// What an exec's background processes had printed when the reader came to an exec that had ended.
        var least: UInt64 = 0
        /// Where the stream ended when a reader came that wants no more than there was.
        var most: UInt64 = .max
    }

    static let interruption = FastableError(
        .unavailable, "The node stops. The command goes on; follow it again in a moment.", retryAfterSeconds: 2)

    private static let replacement = FastableError(
        .conflict, "Another follower with the same name has taken this one's place.")

    let container: ContainerID
    package var stdout: ExecLog
    package var stderr: ExecLog
    package var input: ExecInput
    /// Who has input for which there is no room at the moment.
    var writers: [Int: CheckedContinuation<Void, Never>] = [:]
    var writerCount = 0
    package var outcome: Outcome?
    /// It has ended, and its outcome is being completed: nothing else becomes that.
    var isConcluding = false
    /// It was killed, and nothing of it runs.
    package var hasNoProcess = false
    /// This daemon will not hear of it again.
    var isInterrupted = false
    package var readers: [Int: Reader] = [:]
    private var readerCount = 0
    /// Readers whose name another one has now, and that do not know it yet.
    private var replaced: Set<Int> = []
    private var followers: ExecFollowers
    /// What init keeps of them for the next daemon.
    private var noted: UInt32
    /// When held back output is tried again anyway.
    private var triedAgainAt: ExecFollowers.Instant?
    /// Rises with everything that is news to a reader.
    private var version = 0

    package init(
        container: ContainerID, stdout: ExecLog, stderr: ExecLog, input: ExecInput,
        followers: ExecFollowers = ExecFollowers(overflow: .slow), note: UInt32 = 0, outcome: Outcome? = nil
    ) {
        self.input = input
        self.container = container
        self.stdout = stdout
        self.stderr = stderr
        self.followers = followers
        self.outcome = outcome
        noted = note
    }

    package subscript(channel: UInt8) -> ExecLog {
        get { channel == 1 ? stdout : stderr }
        _modify { if channel == 1 { yield &stdout } else { yield &stderr } }
    }

    package var isHoldingBack: Bool { stdout.isHoldingBack || stderr.isHoldingBack }

    /// Nothing about it will change any more.
    var isComplete: Bool { outcome != nil && stdout.ended && stderr.ended }

    /// Bytes of admitted output to keep in memory: for readers that are close behind.
    var recentBytes: Int { readers.isEmpty ? 0 : Limits.execRecentBytes }

    /// A reader from given offsets. One that is ahead of the bytes waits for them: after a restart of the daemon, init may
    /// still have to send again what a reader has already. With `last` it begins so many bytes before the present ends,
    /// with `untilNow` it gets nothing behind them. One that has the same name is replaced.
    package mutating func addReader(
        stdoutFrom: UInt64, stderrFrom: UInt64, last: UInt64? = nil, untilNow: Bool = false,
        only channel: UInt8? = nil, follows: Bool = true, name: String? = nil, followsInput: Bool
    ) -> (number: Int, replacedWaiter: CheckedContinuation<Void, Never>?) {
        readerCount += 1
        let reader = Reader(
            stdout: cursor(in: stdout, from: stdoutFrom, last: last, untilNow: untilNow),
            stderr: cursor(in: stderr, from: stderrFrom, last: last, untilNow: untilNow), channel: channel,
            follows: follows, name: name, inputTold: followsInput ? 0 : nil)
        let old = name.flatMap { name in readers.first { $0.value.name == name }?.key }
        let replaced = old.flatMap { readers.removeValue(forKey: $0) }
        if let old { self.replaced.insert(old) }
        readers[readerCount] = reader
        if follows { followers.began(at: reader.place, name: name, isKnown: replaced != nil) }
        return (readerCount, replaced?.waiter)
    }

    private func cursor(in log: ExecLog, from offset: UInt64, last: UInt64?, untilNow: Bool) -> Cursor {
        let first = last.map { max(offset, log.floor, log.head - min($0, log.head)) } ?? offset
        return Cursor(offset: first, least: outcome == nil ? 0 : log.head, most: untilNow ? log.head : .max)
    }

    /// Lets a reader go; gives its waiter.
    package mutating func removeReader(
        _ number: Int, now: ExecFollowers.Instant
    ) -> CheckedContinuation<Void, Never>? {
        replaced.remove(number)
        guard let reader = readers.removeValue(forKey: number) else { return nil }
        if reader.follows, !reader.hasEnded, !isComplete {
            followers.vanished(at: reader.place, name: reader.name, now: now)
        }
        return reader.waiter
    }

    /// Lets readers have output, as far as nothing has to go for it that somebody needs.
    package mutating func admit(_ channel: UInt8, now: ExecFollowers.Instant) -> Admission {
        followers.expire(now: now)
        let slowest = readers.values.filter { $0.needs(channel) }.map { $0[channel].offset }.min()
        let before = self[channel].head
        var admission = Admission()
        admission.chunks = self[channel].admit(needed: followers.needed(channel, slowest: slowest))
        if self[channel].head > before { admission.waiters = takeWaiters() }
        if isHoldingBack, let next = followers.nextChange, triedAgainAt.map({ $0 > next || $0 <= now }) ?? true {
            triedAgainAt = next
            admission.tryAgainAt = next
        }
        // A command that prints little costs no message.
        let note = followers.note(present: readers.values.count { $0.follows })
        if note != noted, stdout.received + stderr.received > Limits.initRingBytes {
            noted = note
            admission.note = note
        }
        return admission
    }

    /// The disk did not take what was admitted. Gives where the file begins anew, unless it is written again at `tryAgainAt`.
    package mutating func writingFailed(
        _ channel: UInt8, now: ExecFollowers.Instant
    ) -> (fileStart: UInt64?, tryAgainAt: ExecFollowers.Instant?) {
        followers.expire(now: now)
        let slowest = readers.values.filter { $0.needs(channel) }.map { $0[channel].offset }.min()
        let isNeeded = followers.needed(channel, slowest: slowest) != nil
        let fileStart = self[channel].writingFailed(isNeeded: isNeeded, keepRecent: recentBytes)
        return (fileStart, isNeeded ? now + .milliseconds(Limits.execWriteRetryMilliseconds) : nil)
    }

    /// There is news: the readers that waited for it.
    mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
        version += 1
        return readers.keys.compactMap { takeWaiter($0) }
    }

    /// There is room for input, or there never will be.
    mutating func takeWriters() -> [CheckedContinuation<Void, Never>] {
        defer { writers = [:] }
        return Array(writers.values)
    }

    mutating func takeWaiter(_ number: Int) -> CheckedContinuation<Void, Never>? {
        guard let waiter = readers[number]?.waiter else { return nil }
        readers[number]?.waiter = nil
        return waiter
    }

    /// Keeps a reader's waiter until there is news; `false` when there has been some since its last step.
    mutating func wait(_ number: Int, _ waiter: CheckedContinuation<Void, Never>) -> Bool {
        guard readers[number]?.seen == version else { return false }
        readers[number]?.waiter = waiter
        return true
    }

    package mutating func step(_ number: Int) -> Step {
        guard !replaced.contains(number) else { return .failure(Self.replacement) }
        guard var reader = readers[number], !reader.hasEnded else { return .end }
        reader.seen = version
        defer { readers[number] = reader }
        guard reader.hasStarted else {
            reader.hasStarted = true
            let (stdout, stderr) = (reader.stdout.offset, reader.stderr.offset)
            return .chunk(
                .started(
                    container: container, stdoutOffset: stdout, stderrOffset: stderr, inputOffset: input.accepted))
        }
        if let told = reader.inputTold, input.passed > told {
            reader.inputTold = input.passed
            return .chunk(.inputPassed(upTo: input.passed))
        }
        for channel in [reader.turn, 3 - reader.turn] {
            if let step = step(&reader, channel) { return step }
        }
        let hasAll = hasAll(reader)
        // More may have come since, which is not for this reader, nor is what follows it.
        if hasAll, !reachesEnd(reader) {
            reader.hasEnded = true
            return .end
        }
        switch outcome {
        case nil: return isInterrupted ? .failure(Self.interruption) : .wait
        case .failed(let error):
            guard hasAll else { return .wait }
            reader.hasEnded = true
            return .failure(error)
        case .finished(let result):
            guard hasAll else { return .wait }
            reader.hasEnded = true
            return .chunk(.finished(result))
        }
    }

    private func hasAll(_ reader: Reader) -> Bool {
        [1, 2].allSatisfy { !reader.wants($0) || reader[$0].offset >= limit(reader, $0) }
    }

    private func reachesEnd(_ reader: Reader) -> Bool {
        [1, 2].allSatisfy { !reader.wants($0) || reader[$0].most >= end(reader, $0) }
    }

    private func step(_ reader: inout Reader, _ channel: UInt8) -> Step? {
        guard reader.wants(channel) else { return nil }
        let cursor = reader[channel].offset
        let limit = limit(reader, channel)
        switch self[channel].place(of: cursor, upTo: limit, count: Limits.execReadBytes) {
        case .nothing: return nil
        case .dropped(let end):
            reader[channel].offset = end
            return .chunk(.gap(channel: channel, from: cursor, to: end))
        case .memory(let bytes):
            reader[channel].offset += UInt64(bytes.readableBytes)
            reader.turn = 3 - channel
            return .chunk(.data(channel: channel, bytes))
        case .file(let offset, let count):
            return .file(channel: channel, offset: offset, count: count)
        }
    }

    /// Behind the last byte that this reader gets.
    private func limit(_ reader: Reader, _ channel: UInt8) -> UInt64 {
        min(reader[channel].most, end(reader, channel))
    }

    /// Behind the last byte that there will be for a reader; the result follows that.
    private func end(_ reader: Reader, _ channel: UInt8) -> UInt64 {
        switch outcome {
        case nil: .max
        case .failed: self[channel].received
        case .finished(let result):
            max(
                reader[channel].least,
                min(channel == 1 ? result.stdoutBytes : result.stderrBytes, self[channel].received))
        }
    }

    /// A read of the spool file gave `bytes`, none when the file has been removed. `nil` when they were dropped meanwhile: others may
    /// stand in their place.
    package mutating func didRead(_ number: Int, channel: UInt8, _ bytes: ByteBuffer) -> ExecChunk? {
        guard var reader = readers[number] else { return nil }
        let from = reader[channel].offset
        guard from >= self[channel].floor else { return nil }
        defer { readers[number] = reader }
        guard bytes.readableBytes > 0 else {
            reader[channel].offset = self[channel].written
            return .gap(channel: channel, from: from, to: self[channel].written)
        }
        reader[channel].offset += UInt64(bytes.readableBytes)
        reader.turn = 3 - channel
        return .data(channel: channel, bytes)
    }
}
