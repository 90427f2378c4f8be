import CLinux
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NodeSandbox

/// A hostile init, and a node that records its execs and lets readers and writers at them.
enum ReportTarget {
    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        var node = ReportedNode()
        while !script.isOver { try node.act(&script) }
        try node.finish()
    }

    static func frame(_ type: UInt8, channel: UInt8 = 0, exec: UInt32, _ payload: [UInt8]) -> [UInt8] {
        Array(
            FrameCodec.encode(
                Frame(
                    type: FrameType(rawValue: type), channel: channel, stream: exec, payload: ByteBuffer(bytes: payload)
                )
            ).readableBytesView)
    }

    static func bigEndian(_ values: any FixedWidthInteger...) -> [UInt8] {
        values.flatMap { value in bytes(of: value) }
    }

    private static func bytes<Value: FixedWidthInteger>(of value: Value) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    static func message(_ kind: UInt8, exec: UInt32, _ payload: [UInt8]) -> [UInt8] {
        frame(FASTABLE_FRAME_MESSAGE, exec: exec, [kind] + payload)
    }

    static var seeds: [[UInt8]] {
        func held(_ offset: UInt64, exec: UInt32 = 1) -> [UInt8] {
            message(
                FASTABLE_MESSAGE_HELD, exec: exec,
                bigEndian(UInt8(2), offset, offset, offset, offset, UInt8(1), UInt32(0), UInt32(4)) + Array("exec".utf8)
            )
        }
        let welcome = message(FASTABLE_MESSAGE_WELCOME, exec: 0, bigEndian(UInt32(1), UInt32(0), UInt32(1)))
        let exited = message(
            FASTABLE_MESSAGE_EXITED, exec: 1,
            bigEndian(UInt8(0), UInt32(0), UInt8(0), UInt64(1), UInt64(2), UInt64(40), UInt64(0)))
        let data = frame(FASTABLE_FRAME_DATA, channel: 1, exec: 1, bigEndian(UInt64(0)) + Array("output".utf8))
        let ends = [1, 2].flatMap { frame(FASTABLE_FRAME_END, channel: UInt8($0), exec: 1, []) }
        func sent(_ bytes: [UInt8]) -> [UInt8] { [0, UInt8(bytes.count)] + bytes }
        let reader: [UInt8] = [5, 1, 0, 0]
        return [
            sent(welcome) + sent(held(0)) + reader + sent(data) + [6, 1, 4] + sent(exited) + sent(ends) + [6, 1, 9],
            sent(welcome) + sent(held(1 << 40)) + reader + [8, 1, 0, 200, 6, 1, 4],
            reader + [1, 1, 1, 0, 0, 200, 2, 1, 0, 90, 6, 1, 6, 4, 1, 6, 1, 6],
            reader + sent(message(FASTABLE_MESSAGE_FAILED, exec: 1, bigEndian(UInt8(7), UInt32(2)))) + [6, 1, 9],
            sent(message(FASTABLE_MESSAGE_RECEIPT, exec: 1, bigEndian(UInt32(1), UInt32(0))))
                + sent(message(FASTABLE_MESSAGE_REFUSED, exec: 1, bigEndian(UInt8(1)))),
        ]
    }
}

/// What `ExecTable` and `ExecSession` do with reports, without their sockets, files and tasks.
private struct ReportedNode {
    /// Everything about one exec, and what its readers have had.
    private struct Session {
        var state: ExecState
        var cursors: [Int: [UInt64]] = [:]
        var toldInput: UInt64 = 0
        /// A byte of its output did not follow the pattern; contents are not compared any more.
        var hasOwnContent = false
    }

    private var decoder = FrameStreamDecoder()
    private var sessions: [UInt32: Session] = [:]
    private static let numbers: UInt32 = 3

    init() { for number in 1...Self.numbers { sessions[number] = Self.session(nil) } }

    private static func session(_ held: InitReport.Held?) -> Session {
        let input =
            held.map { ExecInput(isOpen: $0.takesInput, arrived: $0.inputArrived, passed: $0.inputPassed) }
            ?? ExecInput(isOpen: true)
        return Session(
            state: ExecState(
                container: ContainerID(), stdout: ExecLog(capacity: 1000, stored: held?.stdoutStored ?? 0),
                stderr: ExecLog(capacity: 1000, stored: held?.stderrStored ?? 0), input: input))
    }

    mutating func act(_ script: inout ByteScript) throws {
        let choice = script.number(below: 11)
        guard choice > 0 else { return try receive(script.shortBytes(), isOwn: true) }
        let number = UInt32(script.byte()) % Self.numbers + 1
        switch choice {
        case 1, 2: try output(number, &script, channel: UInt8(choice))
        case 3:
            let payload = ReportTarget.bigEndian(script.integer(UInt64.self))
            try receive(ReportTarget.frame(FASTABLE_FRAME_WINDOW, exec: number, payload))
        case 4: try receive(ReportTarget.frame(FASTABLE_FRAME_END, channel: script.flag() ? 1 : 2, exec: number, []))
        case 5: addReader(number, UInt64(script.byte()), UInt64(script.byte()))
        case 6: try read(number, steps: script.number(below: 16))
        case 7:
            guard let reader = sessions[number]?.cursors.keys.min() else { return }
            sessions[number]?.cursors[reader] = nil
            sessions[number]?.state.readers[reader] = nil
        case 8: try write(number, &script)
        case 9:
            let end: UInt64? = script.flag() ? UInt64(script.byte()) : nil
            try? sessions[number]?.state.input.finish(at: end)
        // The connection is lost; what had come of a frame is gone.
        default: decoder = FrameStreamDecoder()
        }
    }

    private mutating func output(_ number: UInt32, _ script: inout ByteScript, channel: UInt8) throws {
        guard let session = sessions[number] else { return }
        let received = session.state[channel].received
        let isAgain = script.flag()
        let offset = isAgain ? received - min(received, UInt64(script.byte())) : received
        let count = Int(script.integer(UInt16.self)) % 3000
        guard offset < .max - 3000 else { return }
        let bytes = (0..<count).map { Self.byte(offset + UInt64($0)) }
        try receive(
            ReportTarget.frame(
                FASTABLE_FRAME_DATA, channel: channel, exec: number, ReportTarget.bigEndian(offset) + bytes))
    }

    private static func byte(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: offset &* 31 &+ offset >> 8) }

    /// What arrives on the socket. What breaks the protocol ends the connection.
    private mutating func receive(_ bytes: [UInt8], isOwn: Bool = false) throws {
        if isOwn { for number in sessions.keys { sessions[number]?.hasOwnContent = true } }
        decoder.append(ByteBuffer(bytes: bytes))
        do throws(FastableError) {
            while let frame = try decoder.next() { try handle(try InitReport(frame)) }
        } catch { decoder = FrameStreamDecoder() }
        for (number, session) in sessions { try check(session, number) }
    }

    private mutating func handle(_ report: InitReport) throws(FastableError) {
        switch report {
        case .data(let number, let channel, let offset, let bytes):
            try sessions[number]?.state[channel].receive(bytes, at: offset)
            pump(number)
        case .end(let number, let channel): sessions[number]?.state[channel].end()
        case .inputPassed(let number, let offset): _ = sessions[number]?.state.input.passedOn(upTo: offset)
        case .held(let held):
            if held.exec <= Self.numbers / 2 {
                guard sessions[held.exec] != nil else { return }
                sessions[held.exec]?.state.stdout.reconnected(stored: held.stdoutStored)
                sessions[held.exec]?.state.stderr.reconnected(stored: held.stderrStored)
                _ = sessions[held.exec]?.state.input.reconnected(arrived: held.inputArrived, passed: held.inputPassed)
            } else if sessions[held.exec] != nil {
                // After a restart of the daemon.
                sessions[held.exec] = Self.session(held)
            }
        case .exited(let number, let exit):
            guard let state = sessions[number]?.state, state.outcome == nil else { return }
            let result = ExecResult(
                exec: ExecID(), exitCode: exit.value, signal: nil, timedOut: exit.timedOut,
                startedAt: Date(timeIntervalSince1970: Double(exit.startedNanoseconds) / 1e9),
                durationMilliseconds: Double(exit.durationNanoseconds) / 1e6,
                stdoutBytes: min(exit.stdoutBytes, state.stdout.received),
                stderrBytes: min(exit.stderrBytes, state.stderr.received))
            sessions[number]?.state.outcome = .finished(result)
            sessions[number]?.state.input.close()
        case .failed(let number, _, _), .refused(let number, _):
            guard sessions[number]?.state.outcome == nil else { return }
            sessions[number]?.state.stdout.end()
            sessions[number]?.state.stderr.end()
            sessions[number]?.state.outcome = .failed(FastableError(.limit, "refused"))
        case .welcome, .receipt, .pong: break
        }
    }

    private mutating func pump(_ number: UInt32) {
        for channel in [UInt8(1), 2] {
            guard var session = sessions[number] else { return }
            let slowest = session.cursors.values.map { $0[Int(channel) - 1] }.min()
            _ = session.state[channel].admit(needed: slowest)
            session.state[channel].wrote(keepRecent: session.state.readers.isEmpty ? 0 : 300)
            _ = session.state[channel].acknowledgement(step: 250)
            sessions[number] = session
        }
    }

    // MARK: readers and writers

    private mutating func addReader(_ number: UInt32, _ stdout: UInt64, _ stderr: UInt64) {
        guard var session = sessions[number], session.cursors.count < 3 else { return }
        let reader = session.state.addReader(stdoutFrom: stdout, stderrFrom: stderr, followsInput: true).number
        session.cursors[reader] = [stdout, stderr]
        sessions[number] = session
    }

    private mutating func read(_ number: UInt32, steps: Int) throws {
        for reader in (sessions[number]?.cursors.keys.sorted() ?? []) {
            for _ in 0..<steps { guard try read(number, reader) else { break } }
        }
        pump(number)
    }

    /// `false` when there is nothing to read now.
    private mutating func read(_ number: UInt32, _ reader: Int) throws -> Bool {
        guard var session = sessions[number] else { return false }
        defer { sessions[number] = session }
        switch session.state.step(reader) {
        case .wait, .end, .failure: return false
        case .chunk(let chunk): try note(chunk, &session, reader)
        case .file(let channel, let offset, let count):
            let log = session.state[channel]
            try require(count > 0, "a read of nothing, which would be repeated for ever")
            try require(
                offset >= log.floor && offset + UInt64(count) <= log.written, "a read of what is not in the file")
            let bytes = ByteBuffer(bytes: (0..<count).map { Self.byte(offset + UInt64($0)) })
            if let chunk = session.state.didRead(reader, channel: channel, bytes) { try note(chunk, &session, reader) }
        }
        return true
    }

    private func note(_ chunk: ExecChunk, _ session: inout Session, _ reader: Int) throws {
        switch chunk {
        case .data(let channel, let bytes):
            try require(bytes.readableBytes > 0, "an empty piece")
            let start = session.cursors[reader]?[Int(channel) - 1] ?? 0
            if !session.hasOwnContent {
                let isRight = bytes.readableBytesView.enumerated().allSatisfy { Self.byte(start + UInt64($0)) == $1 }
                try require(isRight, "another byte than was sent")
            }
            session.cursors[reader]?[Int(channel) - 1] += UInt64(bytes.readableBytes)
        case .gap(let channel, let from, let to):
            try require(from < to, "an empty gap")
            try require(session.cursors[reader]?[Int(channel) - 1] == from, "a gap somewhere else")
            session.cursors[reader]?[Int(channel) - 1] = to
        case .started, .inputPassed, .finished: break
        }
    }

    private mutating func write(_ number: UInt32, _ script: inout ByteScript) throws {
        guard var session = sessions[number] else { return }
        let offset = script.flag() ? script.integer(UInt64.self) : nil
        let bytes = ByteBuffer(repeating: 1, count: Int(script.integer(UInt16.self)) * 3)
        if case .full(let rest)? = try? session.state.input.accept(bytes, at: offset) {
            try require(rest.readableBytes > 0, "full without a rest")
        }
        sessions[number] = session
    }

    // MARK: checks

    private func check(_ session: Session, _ number: UInt32) throws {
        for log in [session.state.stdout, session.state.stderr] {
            let isOrdered = log.floor <= log.written && log.written <= log.head && log.head <= log.received
            try require(isOrdered, "exec \(number): floor ≤ written ≤ head ≤ received does not hold")
        }
        let input = session.state.input
        try require(input.passed <= input.accepted, "exec \(number): more input passed on than there was")
        try require(
            input.accepted - input.passed <= UInt64(ExecInput.capacity), "exec \(number): more input kept than fits")
    }

    /// Every reader comes to rest.
    mutating func finish() throws {
        for number in sessions.keys.sorted() {
            pump(number)
            for reader in sessions[number]?.cursors.keys.sorted() ?? [] {
                var steps = 0
                while try read(number, reader) {
                    steps += 1
                    if steps % 4 == 0 { pump(number) }
                    try require(steps < 10_000, "a reader that never comes to rest")
                }
            }
        }
    }
}
