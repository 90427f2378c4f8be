import CLinux
import FastableCore
import FastableWire
import NIOCore
import NodeSandbox
import SimulatedInit
import Testing

/// What init does when it cannot look, or there is no room: in a simulated kernel, where calls fail as a test wants.
@Suite("Init in want of files and room")
struct ScarcityTests {
    /// The node of a simulated init.
    private struct Node {
        let simulation: InitSimulation
        private var decoder = FrameStreamDecoder()

        init(_ simulation: InitSimulation) throws {
            self.simulation = simulation
            simulation.connect(withDirectory: true)
            send(InitRequest.hello())
            let greeting = try hear()
            #expect(greeting == [.welcome(cgroupError: 0, held: 0)])
        }

        func send(_ request: ByteBuffer) { simulation.send(Array(request.readableBytesView)) }

        func start(_ number: UInt32, milliseconds: Int = 60_000, terminal: TerminalSize? = nil) throws {
            let command = ExecCommand(
                arguments: ["x"], workingDirectory: "/", timeoutMilliseconds: milliseconds, terminal: terminal)
            let spawn = try InitRequest.Spawn(exec: ExecID(), command: command, user: ExecUser(uid: 0, gid: 0))
            send(InitRequest.open(number, spawn))
        }

        /// What init says until it has nothing more to do.
        mutating func hear() throws -> [InitReport] {
            simulation.settle()
            decoder.append(ByteBuffer(bytes: simulation.takeSent()))
            var reports: [InitReport] = []
            while let frame = try decoder.next() { reports.append(try InitReport(frame)) }
            return reports
        }
    }

    @Test func aReceiptWaitsUntilItIsKnownThatNothingIsLeft() throws {
        try InitSimulation.run { simulation in
            var node = try Node(simulation)
            try node.start(1)
            _ = try node.hear()
            // No file for the look whether processes are left.
            simulation.fail(afterCalls: 1)
            node.send(InitRequest.kill(1, receipt: 5, signal: 9))
            let receipt = InitReport.receipt(exec: 1, number: 5, errno: 0)
            let before = try node.hear()
            #expect(!before.contains(receipt), "it does not know")
            simulation.advance(milliseconds: 1000)
            let after = try node.hear()
            #expect(after.contains(receipt))
            #expect(Self.exit(of: 1, in: after)?.bySignal == true, "and the end is told behind it")
            #expect(simulation.problems.isEmpty)
        }
    }

    @Test func whoCannotBeLookedAfterIsKilledAllTheSame() throws {
        try InitSimulation.run { simulation in
            var node = try Node(simulation)
            // Odd ones do not end when they are asked to.
            try node.start(1, milliseconds: 1000)
            _ = try node.hear()
            // The signal succeeds, the look behind it does not.
            simulation.fail(afterCalls: 2)
            simulation.advance(milliseconds: 1000)
            let asked = try node.hear()
            #expect(Self.exit(of: 1, in: asked) == nil && simulation.processes(in: 1) == 1)
            simulation.advance(milliseconds: Int(FASTABLE_INIT_GRACE_MILLISECONDS))
            let killed = try node.hear()
            let exit = Self.exit(of: 1, in: killed)
            #expect(exit?.timedOut == true && exit?.bySignal == true && exit?.value == 9)
            #expect(simulation.processes(in: 1) == 0 && simulation.problems.isEmpty)
        }
    }

    /// Of a line that has only begun, the first character of the end passes on what there is.
    @Test(arguments: [("", 1), ("abc", 2)])
    func theEndOfInputWaitsForRoomInATerminal(rest: String, ends: Int) throws {
        try InitSimulation.run { simulation in
            var node = try Node(simulation)
            try node.start(1, terminal: TerminalSize(rows: 24, columns: 80))
            _ = try node.hear()
            let command = try #require(simulation.commands.first)
            let text = String(repeating: "\n", count: Self.terminalBytes - rest.utf8.count) + rest
            let piece = ExecInput.Piece(offset: 0, bytes: ByteBuffer(string: text))
            node.send(InitRequest.input(1, piece))
            node.send(InitRequest.endInput(1, at: UInt64(Self.terminalBytes)))
            _ = try node.hear()
            let read = simulation.read(command, atMost: 2 * Self.terminalBytes)
            #expect(read.count == Self.terminalBytes, "it was full")
            _ = try node.hear()
            #expect(simulation.read(command, atMost: 10) == [UInt8](repeating: 4, count: ends))
            _ = try node.hear()
            #expect(simulation.read(command, atMost: 10).isEmpty && simulation.problems.isEmpty)
        }
    }

    /// As much as a terminal of the simulation holds.
    private static let terminalBytes = 4096

    private static func exit(of number: UInt32, in reports: [InitReport]) -> InitReport.Exit? {
        for case .exited(number, let exit) in reports { return exit }
        return nil
    }
}
