import FastableCore
import FastableWire
import NIOCore
import TestSupport
import Testing

/// Two machines, a wire that reorders between streams and delays, and a program at each end that does random things. All from
/// one seed.
struct MuxSimulation {
    static let ends = 2

    /// What one end did and saw on one stream.
    struct Handle {
        var sent: [MuxStream.Event] = []
        var received: [MuxStream.Event] = []
        var isFinished = false
        var sawEnd = false
        var isHeld = true
        /// Reset, dropped or failed: from here on bytes may be missing, but none may be wrong.
        var isCut = false
    }

    /// Credit of one direction of one stream, counted from the frames alone.
    struct Account {
        var sentBytes = 0
        var grantedBytes = 0
    }

    /// What a broken wire does to a frame now and then. The checks must notice.
    enum Fault: CaseIterable { case lose, double, change }

    var random: SeededGenerator
    var fault: Fault?
    let settings: MuxSettings
    var machines: [MuxStateMachine]
    /// Frames under way, by receiving end and stream. The order within a stream is kept.
    var wires: [[UInt32: CircularBuffer<Frame>]] = [[:], [:]]
    var handles: [[UInt32: Handle]] = [[:], [:]]
    var accounts: [[UInt32: Account]] = [[:], [:]]
    /// Waiting senders: ticket → stream.
    var waiting: [[UInt64: UInt32]] = [[:], [:]]
    var lastTicket: UInt64 = 0
    var now = ContinuousClock.now
    var written = 0
    var problems: [String] = []

    init(seed: UInt64, settings: MuxSettings = .small) {
        random = SeededGenerator(seed: seed)
        self.settings = settings
        machines = [
            MuxStateMachine(role: .dialer, settings: settings, now: now),
            MuxStateMachine(role: .listener, settings: settings, now: now),
        ]
    }

    /// Gives way every now and then: tests with deadlines run beside this one.
    mutating func run(steps: Int) async {
        for count in 0..<steps where problems.isEmpty {
            step(end: random.int(0...1))
            checkBounds()
            if count % 50 == 0 { await Task.yield() }
        }
    }

    private mutating func step(end: Int) {
        switch random.int(0...99) {
        case 0..<6: open(end)
        case 6..<22: send(end)
        case 22..<45: take(end)
        case 45..<49: finish(end)
        case 49..<51: reset(end)
        case 51..<54: drop(end)
        case 54..<55: cancel(end)
        case 55..<57: tick()
        case 57..<77: transmit(end, frames: random.int(1...6))
        default: deliver(end, frames: random.int(1...6))
        }
    }

    // MARK: the programs

    private mutating func open(_ end: Int) {
        switch machines[end].open(text("{}")) {
        case .success(let id): handles[end][id] = Handle()
        case .failure(let error): expect(error.code == .limit, "open: \(error)")
        }
    }

    private mutating func send(_ end: Int) {
        guard let id = randomHandle(end), let handle = handles[end][id], !handle.isFinished else { return }
        let size = random.chance(70) ? random.int(1...200) : random.int(1...3000)
        let bytes = pattern(size, from: written)
        let isMessage = random.chance(25) && size <= settings.messageBytes
        let channel = UInt8(random.int(0...2))
        lastTicket += 1
        let content: MuxContent = isMessage ? .message(bytes) : .data(channel: channel, bytes)
        let result = machines[end].send(content, on: id, ticket: random.chance(50) ? lastTicket : nil)
        switch result {
        case .committed: break
        case .waiting: waiting[end][lastTicket] = id
        case .wouldWait: return
        case .failed:
            expect(handle.isCut || handle.isFinished || isPeerCut(end, id), "send on a sound stream failed")
            return
        }
        written += size
        handles[end][id]?.sent.append(isMessage ? .message(bytes) : .data(channel: channel, bytes))
    }

    mutating func take(_ end: Int) {
        guard let id = randomHandle(end) else { return }
        take(end, id, count: random.int(1...8))
    }

    mutating func take(_ end: Int, _ id: UInt32, count: Int) {
        for _ in 0..<count {
            switch machines[end].take(id) {
            case .event(let event):
                handles[end][id]?.received.append(event)
                if case .end = event { handles[end][id]?.sawEnd = true }
            case .finished:
                expect(handles[end][id]?.sawEnd == true, "finished without an end")
                return
            case .failed:
                handles[end][id]?.isCut = true
                return
            case .empty: return
            }
        }
    }

    private mutating func finish(_ end: Int) {
        guard let id = randomHandle(end) else { return }
        if machines[end].finish(id) == nil { handles[end][id]?.isFinished = true }
    }

    private mutating func reset(_ end: Int) {
        guard let id = randomHandle(end) else { return }
        follow(machines[end].reset(id, FastableError(.cancelled, "reset by the test")), end)
        handles[end][id]?.isCut = true
    }

    private mutating func drop(_ end: Int) {
        guard let id = randomHandle(end) else { return }
        // A handle is never dropped while a call on it waits.
        guard !waiting[end].values.contains(id) else { return }
        release(end, id)
    }

    mutating func release(_ end: Int, _ id: UInt32) {
        machines[end].release(id)
        handles[end][id]?.isHeld = false
        if handles[end][id]?.isFinished != true || handles[end][id]?.sawEnd != true { handles[end][id]?.isCut = true }
    }

    private mutating func cancel(_ end: Int) {
        guard let (ticket, id) = waiting[end].min(by: { $0.key < $1.key }) else { return }
        machines[end].cancelSend(on: id, ticket: ticket)
        waiting[end][ticket] = nil
        // As the documentation of `send` says: what was cut off half way must be reset.
        follow(machines[end].reset(id, FastableError(.cancelled, "cancelled by the test")), end)
        handles[end][id]?.isCut = true
    }

    private mutating func tick() {
        now += .milliseconds(random.int(0...400))
        for end in 0..<Self.ends { follow(machines[end].tick(now: now).actions, end) }
    }

    // MARK: the wire

    mutating func transmit(_ end: Int, frames: Int) {
        for _ in 0..<frames {
            guard let output = machines[end].nextFrame() else { return }
            if let ticket = output.finishedTicket {
                expect(waiting[end].removeValue(forKey: ticket) != nil, "a sender finished twice")
            }
            if output.frame.type == .data || output.frame.type == .message {
                accounts[end][output.frame.stream, default: Account()].sentBytes += output.frame.payload.readableBytes
                let account = accounts[end][output.frame.stream, default: Account()]
                expect(
                    account.sentBytes <= settings.windowBytes + account.grantedBytes,
                    "stream \(output.frame.stream) exceeds its credit")
            }
            for frame in damaged(output.frame) {
                wires[1 - end][frame.stream, default: CircularBuffer()].append(frame)
            }
        }
    }

    /// What arrives of a frame: itself, unless the wire has a fault.
    private mutating func damaged(_ frame: Frame) -> [Frame] {
        guard let fault, frame.type == .data, random.chance(30) else { return [frame] }
        switch fault {
        case .lose: return []
        case .double: return [frame, frame]
        case .change:
            var changed = frame
            let place = frame.payload.readerIndex
            changed.payload.setInteger((frame.payload.getInteger(at: place) ?? UInt8(0)) ^ 1, at: place)
            return [changed]
        }
    }

    mutating func deliver(_ end: Int, frames: Int) {
        for _ in 0..<frames {
            guard let id = deliverable(end), let frame = wires[end][id]?.popFirst() else { return }
            if wires[end][id]?.isEmpty == true { wires[end][id] = nil }
            if frame.type == .window, let credit = frame.payload.getInteger(at: 0, as: UInt32.self) {
                accounts[end][id, default: Account()].grantedBytes += Int(credit)
            }
            follow(machines[end].receive(frame, now: now), end)
        }
    }

    /// A stream whose next frame may arrive. Openings arrive in the order of their ids, as on any ordered wire.
    private mutating func deliverable(_ end: Int) -> UInt32? {
        let openings = wires[end].filter { $0.value.first?.type == .open }.keys
        let first = openings.min()
        let candidates = wires[end].keys.filter { !openings.contains($0) || $0 == first }.sorted()
        return candidates.randomElement(using: &random)
    }

    mutating func follow(_ actions: [MuxAction], _ end: Int) {
        for action in actions {
            switch action {
            case .accept(let stream, _): handles[end][stream] = Handle()
            case .wakeReader: break
            case .failSender(let ticket, _):
                expect(waiting[end].removeValue(forKey: ticket) != nil, "a sender failed twice")
            case .close: problems.append("the link ended: \(String(describing: machines[end].ended))")
            }
        }
    }

    // MARK: checks

    private func checkedPairs() -> [(sender: Handle, receiver: Handle, id: UInt32)] {
        (0..<Self.ends).flatMap { end in
            handles[end].compactMap { id, sender in handles[1 - end][id].map { (sender, $0, id) } }
        }
    }

    private mutating func checkBounds() {
        for machine in machines {
            expect(machine.committedBytes >= 0, "negative bytes")
            expect(
                machine.committedBytes <= settings.sendBufferBytes + settings.windowBytes, "too many bytes in memory")
            expect(machine.streamCount <= 2 * settings.streamsPerOpener, "too many streams")
        }
    }

    /// Everything that arrived is what was sent, in its order; on sound streams nothing is missing.
    mutating func checkContent(isOver: Bool) {
        for (sender, receiver, id) in checkedPairs() {
            let sent = flattened(sender.sent)
            let received = flattened(receiver.received)
            expect(sent.starts(with: received), "stream \(id): something else arrived")
            guard receiver.sawEnd else { continue }
            expect(sender.isFinished, "stream \(id): an end that was not sent")
            expect(received == sent, "stream \(id): \(received.count) of \(sent.count) pieces before the end")
        }
        guard isOver else { return }
        for machine in machines {
            expect(machine.streamCount == 0, "\(machine.streamCount) streams are left")
            expect(machine.committedBytes == 0, "\(machine.committedBytes) bytes are left")
            expect(!machine.hasOutput, "output is left")
        }
    }

    mutating func expect(_ condition: Bool, _ what: String) {
        if !condition { problems.append(what) }
    }

    private func isPeerCut(_ end: Int, _ id: UInt32) -> Bool {
        handles[1 - end][id]?.isCut ?? true
    }

    private mutating func randomHandle(_ end: Int) -> UInt32? {
        handles[end].filter { $0.value.isHeld }.keys.sorted().randomElement(using: &random)
    }

    /// One entry per byte of data (channel and byte) and per message: cuts between frames do not show.
    private func flattened(_ events: [MuxStream.Event]) -> [Int] {
        var entries: [Int] = []
        for event in events {
            switch event {
            case .message(let bytes): entries.append(bytes.hashValue)
            case .data(let channel, let bytes):
                for byte in bytes.readableBytesView { entries.append(Int(channel) << 8 | Int(byte)) }
            case .end: break
            }
        }
        return entries
    }
}

extension MuxSimulation {
    /// Lets everything come to its end: all read, all finished, all delivered, all handles dropped.
    mutating func windDown() {
        for round in 0..<10_000 where problems.isEmpty {
            var isQuiet = true
            for end in 0..<Self.ends {
                for id in handles[end].keys.sorted() where handles[end][id]?.isHeld == true {
                    take(end, id, count: 1000)
                    if handles[end][id]?.isFinished == false, machines[end].finish(id) == nil {
                        handles[end][id]?.isFinished = true
                        isQuiet = false
                    }
                }
                if machines[end].hasOutput || !wires[end].isEmpty { isQuiet = false }
                transmit(end, frames: 50)
                deliver(end, frames: 50)
            }
            if isQuiet { break }
            if round == 9_999 { problems.append("it never came to rest") }
        }
        for end in 0..<Self.ends {
            for (id, handle) in handles[end] where !handle.isCut {
                expect(handle.sawEnd, "stream \(id) of end \(end) never ended")
            }
            expect(waiting[end].isEmpty, "senders wait for ever")
        }
        checkContent(isOver: false)
        for end in 0..<Self.ends {
            for id in handles[end].keys.sorted() where handles[end][id]?.isHeld == true { release(end, id) }
        }
        for _ in 0..<1000 where problems.isEmpty {
            for end in 0..<Self.ends {
                transmit(end, frames: 100)
                deliver(end, frames: 100)
            }
        }
    }
}
