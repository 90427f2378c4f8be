import CLinux
import FastableCore
import FastableWire
import NIOCore
import NodeSandbox
import SimulatedInit

/// What goes on around a simulated init, as a fuzzer's bytes choose it.
struct InitWorld {
    private let simulation: InitSimulation
    private var listener: InitListener
    private var lastNumber: UInt32 = 0
    private var lastReceipt: UInt32 = 0

    init(_ simulation: InitSimulation) {
        self.simulation = simulation
        listener = InitListener(simulation)
    }

    /// The first connection. What init has then is all that it needs for itself.
    mutating func start() -> [Int] {
        connect(withDirectory: true)
        simulation.settle()
        return simulation.holdings
    }

    mutating func settle() throws {
        simulation.settle()
        try listener.hear()
    }

    private mutating func connect(withDirectory: Bool) {
        simulation.connect(withDirectory: withDirectory)
        listener.connected()
        send(InitRequest.hello())
    }

    private func send(_ request: ByteBuffer) { simulation.send(Array(request.readableBytesView)) }

    mutating func act(_ script: inout ByteScript) throws {
        if simulation.connection?.isClosedByInit != false { connect(withDirectory: true) }
        let choice = script.number(below: 21)
        guard listener.isGreeted || !(2...9).contains(choice) else { return }
        switch choice {
        case 0:
            listener.isContentKnown = false
            simulation.send(script.shortBytes())
        case 1: hostileFrame(&script)
        case 2: try open(&script)
        case 3...9: request(choice, &script)
        case 15: connect(withDirectory: script.flag())
        case 16: if script.flag() { simulation.connection?.isClosedByNode = true }
        case 17:
            let room = Int(script.byte())
            simulation.connection?.room = room == 255 ? .max : room * 64
        case 18: simulation.advance(milliseconds: script.number(below: 256) * 50)
        case 19: simulation.fail(afterCalls: script.number(below: 32))
        default: try command(choice, &script)
        }
    }

    // MARK: the node

    private mutating func hostileFrame(_ script: inout ByteScript) {
        listener.isContentKnown = false
        let type = UInt8(script.number(below: 10))
        let number = UInt32(script.number(below: 32))
        let channel = type == FASTABLE_FRAME_WINDOW ? UInt8(script.number(below: 3)) : 0
        simulation.send(ReportTarget.frame(type, channel: channel, exec: number, script.shortBytes()))
    }

    private mutating func open(_ script: inout ByteScript) throws {
        let kind = script.number(below: 4)
        var command = ExecCommand(arguments: [], workingDirectory: "/")
        for _ in 0...script.number(below: 3) {
            command.arguments.append(String(UnicodeScalar(script.byte() & 0x7f | 1)))
        }
        command.environment = ["HOME": "/", "A": ""]
        command.timeoutMilliseconds = kind == 3 ? 3000 : 3_600_000
        command.takesInput = kind == 1
        if kind == 2 { command.terminal = TerminalSize(rows: 24, columns: 80) }
        lastNumber += 1
        let spawn = try InitRequest.Spawn(exec: ExecID(), command: command, user: ExecUser(uid: 0, gid: 0))
        listener.opened(lastNumber, command)
        send(InitRequest.open(lastNumber, spawn))
    }

    private func number(_ script: inout ByteScript) -> UInt32 {
        let back = UInt32(script.number(below: 8))
        return back < lastNumber ? lastNumber - back : lastNumber
    }

    private mutating func request(_ choice: Int, _ script: inout ByteScript) {
        let number = number(&script)
        switch choice {
        case 3:
            let back = UInt64(script.flag() ? script.byte() : 0)
            let count = Int(script.integer(UInt16.self)) % 20_000
            if let piece = listener.input(number, back: back, count: count) { send(InitRequest.input(number, piece)) }
        case 4: send(InitRequest.endInput(number, at: listener.inputSent[number] ?? 0))
        case 5:
            let channel = script.flag() ? 1 : 2
            let offset = listener.received[number]?[channel] ?? 0
            let part = script.byte() == 0 ? offset / 2 : offset
            listener.acknowledged(number, channel, part)
            send(InitRequest.stored(number, channel: UInt8(channel), upTo: part))
        case 6:
            lastReceipt += 1
            let choice = UInt32(script.number(below: 2 * 66))
            let signal = choice % 66
            listener.receipts[lastReceipt] = (number, signal)
            let whom = choice == signal ? 0 : FASTABLE_KILL_EVERYONE
            send(InitRequest.kill(number, receipt: lastReceipt, signal: signal | whom))
        case 7: send(InitRequest.release(number))
        case 8: send(InitRequest.resize(number, TerminalSize(rows: 1, columns: UInt16(script.byte()))))
        default: simulation.send(ReportTarget.frame(FASTABLE_FRAME_PING, exec: 0, script.bytes(8)))
        }
    }

    // MARK: commands

    private mutating func command(_ choice: Int, _ script: inout ByteScript) throws {
        let back = script.number(below: 8)
        guard !simulation.commands.isEmpty else { return }
        let command = simulation.commands[max(0, simulation.commands.count - 1 - back)]
        switch choice {
        case 10:
            let channel = script.flag() ? 1 : 2
            simulation.write(command, channel: channel, count: Int(script.integer(UInt16.self)))
        case 11:
            let start = command.inputRead
            let bytes = simulation.read(command, atMost: Int(script.integer(UInt16.self)))
            try listener.check(inputOf: command, bytes, at: start)
        case 12: simulation.exit(command, bySignal: script.flag(), value: Int32(script.byte() & 0x7f))
        case 13: script.flag() ? simulation.fork(command) : simulation.endBackground(command)
        case 14: simulation.closeFiles(command)
        default:
            simulation.failToExecute(command, stage: UInt8(script.number(below: 4) + 4), errno: Int32(script.byte()))
        }
    }

    // MARK: the end

    /// Ends and forgets everything; then init has what it had in the beginning.
    mutating func windDown(_ holdings: [Int]) throws {
        simulation.fail(afterCalls: 0)
        connect(withDirectory: true)
        try settle()
        for number in listener.held.sorted() { send(InitRequest.kill(number, receipt: 0, signal: 9)) }
        try settle()
        simulation.endEverything()
        for _ in 0..<100 {
            for number in listener.held {
                for channel in [1, 2] {
                    guard let offset = listener.received[number]?[channel] else { continue }
                    listener.acknowledged(number, channel, offset)
                    send(InitRequest.stored(number, channel: UInt8(channel), upTo: offset))
                }
            }
            simulation.advance(milliseconds: 1000)
            try settle()
            if listener.held.isSubset(of: listener.over) { break }
        }
        let missing = listener.held.subtracting(listener.over)
        try require(missing.isEmpty, "nobody is told how \(missing.sorted()) ended")
        for number in listener.held { send(InitRequest.release(number)) }
        try settle()
        connect(withDirectory: true)
        simulation.advance(milliseconds: 1000)
        try settle()
        simulation.checkMemory()
        try listener.hear()
        try require(listener.held.isEmpty, "init still holds \(listener.held.sorted())")
        try require(
            simulation.holdings == holdings,
            "descriptors, mappings, cgroups: \(holdings) in the beginning, \(simulation.holdings) in the end")
    }
}
