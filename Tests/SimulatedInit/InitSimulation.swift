import CLinux

/// A `fastable-init`, its kernel, and all that happens around it: the node, commands, the clock, calls that fail.
package final class InitSimulation {
    private let kernel = SimulatedKernel()
    private var program: Init?
    package private(set) var connection: Connection?
    /// A loop that turns more often than this without an event from outside would never rest.
    private static let turns = 20_000

    private init() {}

    /// Runs `body` with an init that has just started.
    package static func run<Failure>(_ body: (InitSimulation) throws(Failure) -> Void) throws(Failure) {
        let simulation = InitSimulation()
        let result = SimulatedKernel.$current.withValue(simulation.kernel) { () -> Result<Void, Failure> in
            simulation.program = Init()
            if simulation.program == nil { simulation.kernel.problem("init did not start") }
            do throws(Failure) { return .success(try body(simulation)) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// What init did that it must never do.
    package var problems: [String] { kernel.problems }

    /// Looks for writes where init has no memory; what it has given back was looked at then.
    package func checkMemory() { kernel.checkMemory() }

    // MARK: the loop

    package func step() { program?.step() }

    /// Lets init do all that there is to do.
    package func settle() {
        for _ in 0..<Self.turns {
            step()
            if kernel.lastWait.events == 0, kernel.lastWait.timeout != 0 { return }
        }
        kernel.problem("init does not come to rest")
    }

    package func advance(milliseconds: Int) { kernel.now += UInt64(milliseconds) * 1_000_000 }

    /// The call that is this many away fails, if it can.
    package func fail(afterCalls calls: Int) { kernel.callsUntilFailure = calls }

    // MARK: the node

    package func connect(withDirectory: Bool) {
        let new = Connection(passesDirectory: withDirectory)
        connection = new
        kernel.waiting.append(new)
    }

    package func send(_ bytes: [UInt8]) {
        guard let connection, !connection.isClosedByInit, !connection.isClosedByNode else { return }
        connection.arriving += bytes
    }

    package func takeSent() -> [UInt8] {
        guard let connection else { return [] }
        defer { connection.sent = [] }
        return connection.sent
    }

    // MARK: commands

    /// In the order of their starts.
    package var commands: [SimulatedCommand] { kernel.commands }

    /// Prints; as much as there is room for.
    package func write(_ command: SimulatedCommand, channel: Int, count: Int) {
        guard command.files.count == 3 else { return }
        let start = command.written[channel]
        let bytes = (0..<count).map { SimulatedCommand.byte(command.number, channel, at: start + $0) }
        switch command.files[channel].kind {
        case .writeEnd(let pipe) where pipe.hasReader: command.written[channel] += pipe.queue.put(bytes)
        case .slave(let terminal) where terminal.hasMaster && channel == 1:
            command.written[channel] += terminal.output.put(bytes)
        default: break
        }
    }

    /// Reads its input.
    package func read(_ command: SimulatedCommand, atMost count: Int) -> [UInt8] {
        guard let file = command.files.first else { return [] }
        let bytes: [UInt8] =
            switch file.kind {
            case .readEnd(let pipe): pipe.queue.take(count)
            case .slave(let terminal): terminal.input.take(count)
            default: []
            }
        command.inputRead += bytes.count
        return bytes
    }

    package func closeFiles(_ command: SimulatedCommand) {
        for file in command.files { kernel.release(file) }
        command.files = []
    }

    package func exit(_ command: SimulatedCommand, bySignal: Bool, value: Int32) {
        kernel.end(command, bySignal: bySignal, value: value)
    }

    /// The program could not be executed.
    package func failToExecute(_ command: SimulatedCommand, stage: UInt8, errno: Int32) {
        guard !command.hasEnded, command.written == [0, 0, 0] else { return }
        command.failedStage = stage
        command.failure.pointee = SpawnFailure(stage: stage, number: errno)
        kernel.end(command, bySignal: false, value: 127)
    }

    package func fork(_ command: SimulatedCommand) { if command.processes > 0 { command.processes += 1 } }

    /// A process in the background ends.
    package func endBackground(_ command: SimulatedCommand) {
        guard command.processes > (command.hasEnded ? 0 : 1) else { return }
        kernel.endBackground(command)
    }

    /// All processes end, also those that init has forgotten.
    package func endEverything() { for command in kernel.commands { kernel.kill(group: command.number) } }

    package func processes(in number: UInt32) -> Int { kernel.processes(in: number) }

    // MARK: what is left

    /// Descriptors, mappings and cgroups that exist now.
    package var holdings: [Int] { [kernel.descriptors.count, kernel.mappings, kernel.groups.count] }
}
