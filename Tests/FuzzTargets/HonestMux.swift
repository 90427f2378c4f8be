import FastableCore
import FastableWire
import NIOCore

/// Two ends and two wires that keep the order: nobody breaks the protocol, and what arrives is what was sent.
struct HonestMux {
    /// A stream as one end has it.
    private struct Handle {
        var sent: [UInt16] = []
        var received = 0
        var isHeld = true
        var isFinished = false
        var sawEnd = false
        /// Its end may be missing: it was reset, released or cut off.
        var isCut = false
    }

    private var machines: [MuxStateMachine]
    private var handles: [[UInt32: Handle]] = [[:], [:]]
    private var wires: [CircularBuffer<Frame>] = [CircularBuffer(), CircularBuffer()]
    private var waiting: [[UInt64: UInt32]] = [[:], [:]]
    private var lastTicket: UInt64 = 0
    private let now = ContinuousClock.now

    init() {
        var settings = MuxTarget.settings
        // As in the product, these are far beyond what two honest ends need.
        settings.recentStreams = 4096
        settings.queuedControlFrames = 4096
        machines = [MuxRole.dialer, .listener].map { MuxStateMachine(role: $0, settings: settings, now: .now) }
    }

    mutating func run(_ script: inout ByteScript) throws(FuzzFinding) {
        while !script.isOver { try act(&script) }
        try windDown()
    }

    private mutating func act(_ script: inout ByteScript) throws(FuzzFinding) {
        let choice = script.byte()
        let end = Int(choice >> 4 & 1)
        switch choice % 10 {
        case 0: if case .success(let id) = machines[end].open(ByteBuffer(string: "{}")) { handles[end][id] = Handle() }
        case 1, 2: try send(end, &script, isMessage: choice % 10 == 2)
        case 3:
            if let id = handle(end, &script), machines[end].finish(id) == nil { handles[end][id]?.isFinished = true }
        case 4: if let id = handle(end, &script) { try take(end, id, count: 4) }
        case 5: if script.byte() & 3 == 0, let id = handle(end, &script) { try reset(end, id) }
        case 6: if script.byte() & 3 == 0, let id = handle(end, &script) { release(end, id) }
        case 7: try cancel(end)
        case 8: try transmit(end, frames: script.number(below: 12) + 1)
        default: try deliver(end, frames: script.number(below: 12) + 1)
        }
    }

    private func handle(_ end: Int, _ script: inout ByteScript) -> UInt32? {
        let held = handles[end].filter { $0.value.isHeld }.keys.sorted()
        let choice = script.byte()
        return held.isEmpty ? nil : held[Int(choice) % held.count]
    }

    private mutating func send(_ end: Int, _ script: inout ByteScript, isMessage: Bool) throws(FuzzFinding) {
        let size = isMessage ? script.number(below: 256) * 4 + 1 : Int(script.integer(UInt16.self)) % 6000 + 1
        let channel = UInt8(script.number(below: 3))
        let ticket = script.flag() ? lastTicket + 1 : nil
        guard let id = handle(end, &script), let before = handles[end][id] else { return }
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: before.sent.count &+ $0 &* 3 &+ Int(id)) }
        let content: MuxContent =
            isMessage ? .message(ByteBuffer(bytes: bytes)) : .data(channel: channel, ByteBuffer(bytes: bytes))
        switch machines[end].send(content, on: id, ticket: ticket) {
        case .committed: break
        case .waiting:
            guard let ticket else { throw FuzzFinding(description: "a sender without a ticket waits") }
            waiting[end][ticket] = id
            lastTicket = ticket
        case .wouldWait: return
        case .failed(let error):
            // So ends a stream whose own reader is too far behind.
            if error.code == .unavailable { handles[end][id]?.isCut = true }
            let isExpected =
                error.code == .unavailable || before.isCut || before.isFinished || handles[1 - end][id]?.isCut ?? true
            return try require(isExpected, "sending on a sound stream failed: \(error)")
        }
        handles[end][id]?.sent += Self.flat(
            isMessage ? .message(ByteBuffer(bytes: bytes)) : .data(channel: channel, ByteBuffer(bytes: bytes)))
    }

    /// One entry for each byte of data, with its channel, and a mark before each message: cuts between data do not show.
    private static func flat(_ event: MuxStream.Event) -> [UInt16] {
        switch event {
        case .message(let bytes):
            [0x8000 | UInt16(bytes.readableBytes)] + bytes.readableBytesView.map { UInt16($0) | 0x4000 }
        case .data(let channel, let bytes): bytes.readableBytesView.map { UInt16($0) | UInt16(channel) << 8 }
        case .end: []
        }
    }

    private mutating func take(_ end: Int, _ id: UInt32, count: Int) throws(FuzzFinding) {
        for _ in 0..<count {
            switch machines[end].take(id) {
            case .event(.end): handles[end][id]?.sawEnd = true
            case .event(let event):
                let entries = Self.flat(event)
                let sent = handles[1 - end][id]?.sent ?? []
                let place = handles[end][id]?.received ?? 0
                try require(sent.dropFirst(place).starts(with: entries), "stream \(id): something else arrived")
                handles[end][id]?.received += entries.count
            case .finished: return try require(handles[end][id]?.sawEnd == true, "finished without an end")
            case .failed:
                handles[end][id]?.isCut = true
                return
            case .empty: return
            }
        }
    }

    private mutating func reset(_ end: Int, _ id: UInt32) throws(FuzzFinding) {
        handles[end][id]?.isCut = true
        try follow(machines[end].reset(id, FastableError(.cancelled, "reset")), end)
    }

    private mutating func release(_ end: Int, _ id: UInt32) {
        // A handle is never dropped while a call on it waits.
        guard !waiting[end].values.contains(id) else { return }
        machines[end].release(id)
        handles[end][id]?.isHeld = false
        if handles[end][id]?.isFinished != true || handles[end][id]?.sawEnd != true { handles[end][id]?.isCut = true }
    }

    private mutating func cancel(_ end: Int) throws(FuzzFinding) {
        guard let (ticket, id) = waiting[end].min(by: { $0.key < $1.key }) else { return }
        machines[end].cancelSend(on: id, ticket: ticket)
        waiting[end][ticket] = nil
        try reset(end, id)
    }

    private mutating func transmit(_ end: Int, frames: Int) throws(FuzzFinding) {
        for _ in 0..<frames {
            guard let output = machines[end].nextFrame() else { return }
            if let ticket = output.finishedTicket {
                try require(waiting[end].removeValue(forKey: ticket) != nil, "a sender finished twice")
            }
            // By its program, or because that did not read for too long.
            if output.frame.type == .reset { handles[end][output.frame.stream]?.isCut = true }
            wires[1 - end].append(output.frame)
        }
    }

    private mutating func deliver(_ end: Int, frames: Int) throws(FuzzFinding) {
        for _ in 0..<frames {
            guard let frame = wires[end].popFirst() else { return }
            try follow(machines[end].receive(frame, now: now), end)
        }
    }

    private mutating func follow(_ actions: [MuxAction], _ end: Int) throws(FuzzFinding) {
        for action in actions {
            switch action {
            case .accept(let id, _): handles[end][id] = Handle()
            case .wakeReader: break
            case .failSender(let ticket, _):
                try require(waiting[end].removeValue(forKey: ticket) != nil, "a sender failed twice")
            case .close: throw FuzzFinding(description: "the link ended: \(String(describing: machines[end].ended))")
            }
        }
    }

    /// Lets everything come to its end: all read, all finished, all delivered, all handles dropped.
    private mutating func windDown() throws(FuzzFinding) {
        try exchange { machine, end throws(FuzzFinding) in
            for (id, handle) in machine.handles[end] where handle.isHeld {
                try machine.take(end, id, count: 1000)
                if !handle.isFinished, machine.machines[end].finish(id) == nil {
                    machine.handles[end][id]?.isFinished = true
                }
            }
        }
        for end in 0...1 {
            try require(waiting[end].isEmpty, "senders wait for ever")
            for (id, handle) in handles[end] where !handle.isCut && handles[1 - end][id]?.isCut == false {
                let sent = handles[1 - end][id]?.sent.count ?? 0
                try require(
                    handle.sawEnd && handle.received == sent, "stream \(id): \(handle.received) of \(sent) came")
            }
        }
        for end in 0...1 { for id in handles[end].keys { machines[end].release(id) } }
        try exchange { _, _ in }
        for machine in machines {
            try require(machine.streamCount == 0, "\(machine.streamCount) streams are left")
            try require(machine.committedBytes == 0, "\(machine.committedBytes) bytes are left")
        }
    }

    private mutating func exchange(
        _ body: (inout HonestMux, Int) throws(FuzzFinding) -> Void
    ) throws(FuzzFinding) {
        var quietRounds = 0
        for _ in 0..<10_000 {
            for end in 0...1 {
                try body(&self, end)
                try transmit(end, frames: 100)
                try deliver(end, frames: 100)
            }
            let isQuiet = wires.allSatisfy(\.isEmpty) && !machines.contains { $0.hasOutput }
            quietRounds = isQuiet ? quietRounds + 1 : 0
            // What the last frames brought is still to be read and answered.
            if quietRounds == 3 { return }
        }
        throw FuzzFinding(description: "it never comes to rest")
    }
}
