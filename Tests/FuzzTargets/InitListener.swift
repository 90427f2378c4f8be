import FastableCore
import FastableWire
import NIOCore
import NodeSandbox
import SimulatedInit

/// The node's ear: reads what a simulated init says, and holds it against what commands did.
struct InitListener {
    private let simulation: InitSimulation
    private var decoder = FrameStreamDecoder()
    /// The requests so far were such as a node makes: then it is known what init has to say.
    var isContentKnown = true
    /// Execs that init has, as far as it has told.
    private(set) var held: Set<UInt32> = []
    /// Execs whose end was told on this connection.
    private(set) var over: Set<UInt32> = []
    /// By exec: how far the bytes of each channel have come.
    private(set) var received: [UInt32: [UInt64]] = [:]
    private(set) var inputSent: [UInt32: UInt64] = [:]
    private var inputPassed: [UInt32: UInt64] = [:]
    private var acknowledged: [UInt32: [UInt64]] = [:]
    private var commands: [UInt32: ExecCommand] = [:]
    /// What each kill was for.
    var receipts: [UInt32: (exec: UInt32, signal: UInt32)] = [:]
    /// Execs that the greeting is still to tell of; `nil` before it has begun.
    private var missingHeld: Int?

    init(_ simulation: InitSimulation) { self.simulation = simulation }

    mutating func connected() {
        decoder = FrameStreamDecoder()
        held = []
        over = []
        missingHeld = nil
    }

    /// A node asks for nothing before.
    var isGreeted: Bool { missingHeld == 0 }

    mutating func opened(_ number: UInt32, _ command: ExecCommand) {
        commands[number] = command
        held.insert(number)
        received[number] = [0, 0, 0]
        inputSent[number] = 0
    }

    mutating func acknowledged(_ number: UInt32, _ channel: Int, _ offset: UInt64) {
        let before = acknowledged[number] ?? [0, 0, 0]
        acknowledged[number] = before
        acknowledged[number]?[channel] = max(before[channel], offset)
    }

    // MARK: input

    private static func byte(_ number: UInt32, _ offset: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: offset &* 13 &+ offset >> 8 &+ UInt64(number))
    }

    /// The next bytes of an exec's input, perhaps with some that were sent before; no more than there is room for.
    mutating func input(_ number: UInt32, back: UInt64, count: Int) -> ExecInput.Piece? {
        guard let sent = inputSent[number] else { return nil }
        let offset = sent - min(sent, back)
        let end = min(offset + UInt64(count), (inputPassed[number] ?? 0) + UInt64(ExecInput.capacity))
        guard end >= offset else { return nil }
        inputSent[number] = max(sent, end)
        return ExecInput.Piece(offset: offset, bytes: ByteBuffer(bytes: (offset..<end).map { Self.byte(number, $0) }))
    }

    func check(inputOf command: SimulatedCommand, _ bytes: [UInt8], at start: Int) throws(FuzzFinding) {
        // A terminal is also given the character that ends its input.
        guard isContentKnown, !command.hasTerminal else { return }
        let isRight = bytes.enumerated().allSatisfy { Self.byte(command.number, UInt64(start + $0)) == $1 }
        try require(isRight, "exec \(command.number) reads what nobody sent")
    }

    // MARK: what init says

    mutating func hear() throws(FuzzFinding) {
        decoder.append(ByteBuffer(bytes: simulation.takeSent()))
        do throws(FastableError) {
            while let frame = try decoder.next() {
                let report = try InitReport(frame)
                do { try handle(report) } catch { throw FastableError(.internal, "\(error)") }
            }
        } catch {
            throw FuzzFinding(description: error.code == .internal ? error.message : "init said: \(error)")
        }
        if let problem = simulation.problems.first { throw FuzzFinding(description: problem) }
    }

    private mutating func handle(_ report: InitReport) throws(FuzzFinding) {
        switch report {
        case .welcome(_, let count): missingHeld = count
        case .held(let exec): try handle(exec)
        case .data(let number, let channel, let offset, let bytes): try handle(number, Int(channel), offset, bytes)
        case .end(let number, let channel):
            guard isContentKnown, let command = command(number) else { return }
            let written = UInt64(command.written[Int(channel)])
            try require(received[number]?[Int(channel)] == written, "exec \(number): an end before the last byte")
        case .inputPassed(let number, let offset):
            inputPassed[number] = offset
            guard isContentKnown else { return }
            try require(offset <= inputSent[number] ?? 0, "exec \(number): input passed on that was not sent")
        case .exited(let number, let exit):
            over.insert(number)
            try handle(number, exit)
        case .failed(let number, _, _):
            over.insert(number)
            guard isContentKnown, let command = command(number) else { return }
            try require(command.failedStage != 0, "exec \(number) failed though it ran")
        case .refused(let number, _): held.remove(number)
        case .receipt(_, let receipt, let errno):
            guard isContentKnown, errno == 0, let kill = receipts[receipt], kill.signal == 9 else { return }
            try require(
                simulation.processes(in: kill.exec) == 0, "exec \(kill.exec): a receipt while processes are left")
        case .pong: break
        }
    }

    private func command(_ number: UInt32) -> SimulatedCommand? { simulation.commands.last { $0.number == number } }

    private mutating func handle(_ exec: InitReport.Held) throws(FuzzFinding) {
        missingHeld = missingHeld.map { $0 - 1 }
        held.insert(exec.exec)
        received[exec.exec] = [0, exec.stdoutStored, exec.stderrStored]
        inputSent[exec.exec] = exec.inputArrived
        inputPassed[exec.exec] = exec.inputPassed
        guard isContentKnown else { return }
        let most = acknowledged[exec.exec] ?? [0, 0, 0]
        let isRight = exec.stdoutStored <= most[1] && exec.stderrStored <= most[2]
        try require(isRight, "exec \(exec.exec): bytes were given up that are not stored")
    }

    private mutating func handle(
        _ number: UInt32, _ channel: Int, _ offset: UInt64, _ bytes: ByteBuffer
    ) throws(FuzzFinding) {
        let end = offset + UInt64(bytes.readableBytes)
        defer { received[number, default: [0, 0, 0]][channel] = end }
        try require(bytes.readableBytes > 0, "exec \(number): a frame without bytes")
        guard isContentKnown else { return }
        guard let command = command(number) else { throw FuzzFinding(description: "bytes of a command that never ran") }
        try require(offset == received[number]?[channel] ?? 0, "exec \(number): a gap or a repetition in its output")
        let isRight = bytes.readableBytesView.enumerated().allSatisfy {
            SimulatedCommand.byte(number, channel, at: Int(offset) + $0) == $1
        }
        try require(isRight && end <= UInt64(command.written[channel]), "exec \(number): bytes that it did not print")
    }

    private func handle(_ number: UInt32, _ exit: InitReport.Exit) throws(FuzzFinding) {
        guard isContentKnown, let command = command(number) else { return }
        guard let atExit = command.writtenAtExit else {
            throw FuzzFinding(description: "exec \(number): an exit of what still runs")
        }
        let totals = [0, exit.stdoutBytes, exit.stderrBytes]
        for channel in [1, 2] {
            try require(totals[channel] >= UInt64(atExit[channel]), "exec \(number): its exit leaves out bytes")
            let came = received[number]?[channel] ?? 0
            try require(came >= totals[channel], "exec \(number): its exit overtook its bytes")
        }
    }
}
