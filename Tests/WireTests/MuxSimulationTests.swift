import FastableCore
import FastableWire
import NIOCore
import TestSupport
import Testing

@Suite struct MuxSimulationTests {
    @Test(arguments: seeds(20))
    func randomProgramsOnAReorderingWireKeepEveryByte(seed: UInt64) async {
        var simulation = MuxSimulation(seed: seed)
        await simulation.run(steps: 2500)
        simulation.checkContent(isOver: false)
        simulation.windDown()
        simulation.checkContent(isOver: true)
        #expect(simulation.problems.isEmpty, "seed \(seed): \(simulation.problems)")
        #expect(simulation.written > 10_000, "seed \(seed): the programs did nothing")
    }

    /// The test of the test above: a wire that is not what TCP promises is noticed.
    @Test(arguments: MuxSimulation.Fault.allCases, seeds(4))
    func aBrokenWireIsNoticed(fault: MuxSimulation.Fault, seed: UInt64) async {
        var simulation = MuxSimulation(seed: seed)
        simulation.fault = fault
        await simulation.run(steps: 2500)
        simulation.checkContent(isOver: false)
        simulation.windDown()
        #expect(!simulation.problems.isEmpty, "seed \(seed)")
    }

    @Test(arguments: seeds(20))
    func hostileFramesNeverTrapAndNothingGrows(seed: UInt64) async {
        var random = SeededGenerator(seed: seed)
        var settings = MuxSettings.small
        settings.streamsPerOpener = 4
        for _ in 0..<40 {
            await Task.yield()
            var machine = MuxStateMachine(role: random.chance(50) ? .dialer : .listener, settings: settings, now: .now)
            var ids: [UInt32] = []
            for _ in 0..<random.int(0...4) { if case .success(let id) = machine.open(text("{}")) { ids.append(id) } }
            if random.chance(80) { _ = machine.frames() }
            for _ in 0..<200 {
                for action in machine.receive(hostileFrame(&random), now: .now) {
                    if case .accept(let id, _) = action { ids.append(id) }
                }
                if let id = ids.randomElement(using: &random) { act(&machine, on: id, &random) }
                if random.chance(5) { _ = machine.frames() }
                #expect(machine.streamCount <= 8, "seed \(seed)")
                #expect(machine.committedBytes >= 0, "seed \(seed)")
                if machine.ended != nil { #expect(machine.frames().count <= 1, "seed \(seed)") }
            }
        }
    }

    @Test(arguments: seeds(20))
    func bitErrorsOnARealConversationNeverTrap(seed: UInt64) async {
        var random = SeededGenerator(seed: seed)
        var pair = MachinePair()
        for _ in 0..<6 { _ = pair.dialer.open(text("{}")) }
        for round in 0..<300 {
            if round % 20 == 0 { await Task.yield() }
            let id = UInt32(random.int(0...5) * 2 + 1)
            act(&pair.dialer, on: id, &random)
            act(&pair.listener, on: id, &random)
            for frame in pair.dialer.frames() { pass(frame, to: &pair.listener, &random, from: round) }
            for frame in pair.listener.frames() { pass(frame, to: &pair.dialer, &random, from: round) }
            #expect(pair.listener.streamCount <= 16 && pair.dialer.streamCount <= 16, "seed \(seed)")
        }
        for end in [pair.dialer, pair.listener] { #expect(end.committedBytes >= 0, "seed \(seed)") }
    }

    private func pass(
        _ frame: Frame, to machine: inout MuxStateMachine, _ random: inout SeededGenerator, from round: Int
    ) {
        var bytes = FrameCodec.encode(frame).bytes
        if round > 100, random.chance(3) { bytes[random.int(0...bytes.count - 1)] ^= UInt8(1 << random.int(0...7)) }
        do {
            _ = machine.receive(try FrameCodec.decode(message: ByteBuffer(bytes: bytes), payloadLimit: 1024), now: .now)
        } catch {
            _ = machine.violation("\(error)")
        }
    }

    private func act(_ machine: inout MuxStateMachine, on id: UInt32, _ random: inout SeededGenerator) {
        switch random.int(0...9) {
        case 0...3: _ = machine.take(id)
        case 4...6:
            _ = machine.send(
                .data(channel: 1, pattern(random.int(1...2000))), on: id, ticket: random.chance(50) ? 1 : nil)
        case 7: _ = machine.finish(id)
        case 8: _ = random.chance(20) ? machine.reset(id, FastableError(.cancelled, "x")) : []
        default: if random.chance(20) { machine.release(id) }
        }
    }

    private func hostileFrame(_ random: inout SeededGenerator) -> Frame {
        let type = FrameType(rawValue: UInt8(random.chance(95) ? random.int(1...6) : random.int(0...255)))
        let size: Int
        switch type {
        case .window: size = random.chance(95) ? 4 : random.int(0...8)
        case .ping, .pong: size = random.chance(80) ? 8 : random.int(0...16)
        case .end: size = random.chance(95) ? 0 : 1
        default: size = random.chance(80) ? random.int(1...40) : random.int(0...1100)
        }
        return Frame(
            type: type, flags: random.chance(99) ? 0 : 1, channel: type == .data ? UInt8(random.int(0...2)) : 0,
            stream: UInt32(random.chance(95) ? random.int(1...12) : random.int(0...40)), payload: random.bytes(size))
    }
}
