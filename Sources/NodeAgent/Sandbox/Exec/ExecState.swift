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

    struct Cursor {
        var offset: UInt64
        /// What an exec's background processes had printed when the reader came to an exec that had ended.
        var least: UInt64 = 0
    }

    package struct Reader {
        var stdout: Cursor
        var stderr: Cursor
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
    }

    static let interruption = FastableError(
        .unavailable, "The node stops. The command goes on; follow it again in a moment.", retryAfterSeconds: 2)

    let container: ContainerID
    package var stdout: ExecLog
    package var stderr: ExecLog
    package var input: ExecInput
    /// Who has input for which there is no room at the moment.
    var writers: [Int: CheckedContinuation<Void, Never>] = [:]
    var writerCount = 0
    package var outcome: Outcome?
    /// This daemon will not hear of it again.
    var isInterrupted = false
    package var readers: [Int: Reader] = [:]
    private var readerCount = 0
    /// Rises with everything that is news to a reader.
    private var version = 0

    package init(container: ContainerID, stdout: ExecLog, stderr: ExecLog, input: ExecInput, outcome: Outcome? = nil) {
        self.input = input
        self.container = container
        self.stdout = stdout
        self.stderr = stderr
        self.outcome = outcome
    }

    package subscript(channel: UInt8) -> ExecLog {
        get { channel == 1 ? stdout : stderr }
        _modify { if channel == 1 { yield &stdout } else { yield &stderr } }
    }

    var isHoldingBack: Bool { stdout.isHoldingBack || stderr.isHoldingBack }

    /// Nothing about it will change any more.
    var isComplete: Bool { outcome != nil && stdout.ended && stderr.ended }

    package func slowest(_ channel: UInt8) -> UInt64? { readers.values.map { $0[channel].offset }.min() }

    /// Bytes of admitted output to keep in memory: for readers that are close behind.
    var recentBytes: Int { readers.isEmpty ? 0 : Limits.execRecentBytes }

    /// A reader from given offsets. One that is ahead of the bytes waits for them: after a restart of the daemon, init may
    /// still have to send again what a reader has already.
    package mutating func addReader(stdoutFrom: UInt64, stderrFrom: UInt64, followsInput: Bool) -> Int {
        readerCount += 1
        let ended = outcome != nil
        readers[readerCount] = Reader(
            stdout: Cursor(offset: stdoutFrom, least: ended ? stdout.head : 0),
            stderr: Cursor(offset: stderrFrom, least: ended ? stderr.head : 0),
            inputTold: followsInput ? 0 : nil)
        return readerCount
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
        switch outcome {
        case nil: return isInterrupted ? .failure(Self.interruption) : .wait
        case .failed(let error):
            reader.hasEnded = true
            return .failure(error)
        case .finished(let result):
            let isThere = [1, 2].allSatisfy { reader[$0].offset >= limit(reader, $0) }
            guard isThere else { return .wait }
            reader.hasEnded = true
            return .chunk(.finished(result))
        }
    }

    private func step(_ reader: inout Reader, _ channel: UInt8) -> Step? {
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

    /// Behind the last byte that this reader gets; its result follows that.
    private func limit(_ reader: Reader, _ channel: UInt8) -> UInt64 {
        switch outcome {
        case nil: .max
        case .failed: self[channel].received
        case .finished(let result):
            max(
                reader[channel].least,
                min(channel == 1 ? result.stdoutBytes : result.stderrBytes, self[channel].received))
        }
    }

    /// A read of the spool file gave `bytes`, none when the file has been removed.
    package mutating func didRead(_ number: Int, channel: UInt8, _ bytes: ByteBuffer) -> ExecChunk? {
        guard var reader = readers[number] else { return nil }
        let from = reader[channel].offset
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
