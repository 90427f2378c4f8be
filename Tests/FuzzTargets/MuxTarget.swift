import FastableCore
import FastableWire
import NIOCore

/// The link's state machine. The first byte chooses between a hostile peer and two honest ends.
enum MuxTarget {
    static func run(_ bytes: [UInt8]) throws {
        var script = ByteScript(bytes)
        if script.flag() {
            var conversation = HonestMux()
            try conversation.run(&script)
        } else {
            var machine = HostileMux(role: script.flag() ? .dialer : .listener)
            try machine.run(&script)
        }
    }

    /// Small enough that every bound is met soon.
    static var settings: MuxSettings {
        var settings = MuxSettings()
        settings.framePayloadBytes = 1024
        settings.messageBytes = 1024
        settings.chunkBytes = 256
        settings.windowBytes = 4096
        settings.streamsPerOpener = 4
        settings.sendBufferBytes = 2048
        settings.queuedEvents = 16
        settings.queuedControlFrames = 16
        settings.recentStreams = 8
        return settings
    }

    static var seeds: [[UInt8]] {
        let hostile: [[UInt8]] = [
            [0, 0, 0, 1, 2, 2, 0x7b, 0x7d, 0, 3, 2, 4, 1, 2, 3, 4, 5, 10, 0, 0, 5, 2, 0],
            [0, 1, 3, 2, 8, 0, 1, 0x10, 0, 1, 9, 40, 11, 0, 0, 4, 1, 4, 0, 0, 0x10, 0, 11, 0],
            [0, 1, 3, 0, 5, 0, 1, 0, 200, 1, 6, 0, 7, 0, 0, 6, 1, 0, 11, 9, 12, 200, 13, 1],
        ]
        let honest: [[UInt8]] = [
            [1, 0, 0, 1, 0, 0, 9, 8, 40, 8, 8, 2, 1, 0, 1, 2, 3, 0, 0, 4, 8, 6, 9, 6],
            [1, 0, 1, 1, 1, 0, 200, 4, 8, 6, 9, 7, 2, 0, 40, 3, 9, 8, 6, 9, 6],
        ]
        return hostile + honest
    }
}

/// One end whose peer may say anything at any time, and whose program calls it in any order.
private struct HostileMux {
    private static let largestSend = 9000

    private var machine: MuxStateMachine
    private var now = ContinuousClock.now
    private var known: [UInt32] = []
    /// The stream of each ticket.
    private var waiting: [UInt64: UInt32] = [:]
    private var lastTicket: UInt64 = 0
    private var credit: [UInt32: Int] = [:]
    private var sent: [UInt32: Int] = [:]
    private var closings = 0
    private var framesAfterTheEnd = 0

    init(role: MuxRole) { machine = MuxStateMachine(role: role, settings: MuxTarget.settings, now: now) }

    mutating func run(_ script: inout ByteScript) throws(FuzzFinding) {
        while !script.isOver {
            try act(&script)
            try check()
        }
        while let output = machine.nextFrame() { try note(output) }
        try follow(machine.linkLost("the test is over"))
        try require(waiting.isEmpty, "senders wait for a link that has ended")
        for id in known {
            machine.release(id)
            for _ in 0..<100 {
                guard case .event = machine.take(id) else { break }
                continue
            }
        }
        try require(machine.streamCount == 0, "streams without handles are left")
    }

    private mutating func act(_ script: inout ByteScript) throws(FuzzFinding) {
        switch script.number(below: 16) {
        case 0: try receive(frame(&script))
        case 1: try receive(bytes: script.shortBytes())
        case 2: try grant(&script)
        case 3: if case .success(let id) = machine.open(ByteBuffer(bytes: script.shortBytes())) { known.append(id) }
        case 4: try send(.message(ByteBuffer(repeating: 7, count: script.number(below: 256) * 5 + 1)), &script)
        case 5:
            let bytes = ByteBuffer(repeating: 8, count: Int(script.integer(UInt16.self)) % Self.largestSend + 1)
            try send(.data(channel: UInt8(script.number(below: 3)), bytes), &script)
        case 6: _ = machine.take(stream(&script))
        case 7: _ = machine.finish(stream(&script))
        case 8: try follow(machine.reset(stream(&script), FastableError(.cancelled, "reset")))
        case 9:
            let id = stream(&script)
            // A handle is never dropped while a call on it waits.
            if !waiting.values.contains(id) { machine.release(id) }
        case 10:
            guard let (ticket, id) = waiting.min(by: { $0.key < $1.key }) else { return }
            machine.cancelSend(on: id, ticket: ticket)
            waiting[ticket] = nil
        case 11: for _ in 0...script.number(below: 8) { if let output = machine.nextFrame() { try note(output) } }
        case 12:
            now += .milliseconds(script.number(below: 256) * 100)
            try follow(machine.tick(now: now).actions)
        case 13: if script.byte() == 1 { try follow(machine.linkLost("lost")) }
        case 14: if script.byte() == 1 { try follow(machine.close(reason: "closed")) }
        default: machine.heard(now: now)
        }
    }

    private func stream(_ script: inout ByteScript) -> UInt32 {
        let choice = script.number(below: 16)
        return choice < known.count ? known[known.count - 1 - choice] : UInt32(choice)
    }

    private func frame(_ script: inout ByteScript) -> Frame {
        let type = FrameType(rawValue: UInt8(script.number(below: 11)))
        let stream = script.byte()
        let payload: ByteBuffer
        switch type {
        case .data where stream & 0x80 != 0: payload = ByteBuffer(repeating: 9, count: script.number(below: 256) * 5)
        default: payload = ByteBuffer(bytes: script.shortBytes())
        }
        return Frame(
            type: type, channel: type == .data ? stream >> 5 & 3 : 0, stream: UInt32(stream & 0x1f), payload: payload)
    }

    private mutating func receive(bytes: [UInt8]) throws(FuzzFinding) {
        let frame = Result { () throws(FastableError) in
            try FrameCodec.decode(message: ByteBuffer(bytes: bytes), payloadLimit: 1024)
        }
        switch frame {
        case .success(let frame): try receive(frame)
        case .failure(let error): try follow(machine.violation("\(error.code)"))
        }
    }

    private mutating func grant(_ script: inout ByteScript) throws(FuzzFinding) {
        let amount = script.flag() ? script.integer(UInt32.self) : UInt32(script.byte()) * 32
        let id = stream(&script)
        try receive(Frame(type: .window, stream: id, payload: ByteBuffer(integer: amount)))
    }

    private mutating func receive(_ frame: Frame) throws(FuzzFinding) {
        if frame.type == .window, let amount = frame.payload.getInteger(at: frame.payload.readerIndex, as: UInt32.self)
        {
            credit[frame.stream, default: 0] += Int(amount)
        }
        try follow(machine.receive(frame, now: now))
    }

    private mutating func send(_ content: MuxContent, _ script: inout ByteScript) throws(FuzzFinding) {
        let ticket = script.flag() ? lastTicket + 1 : nil
        let id = stream(&script)
        switch machine.send(content, on: id, ticket: ticket) {
        case .waiting:
            guard let ticket else { throw FuzzFinding(description: "a sender without a ticket waits") }
            waiting[ticket] = id
            lastTicket = ticket
        case .committed, .wouldWait, .failed: break
        }
    }

    private mutating func follow(_ actions: [MuxAction]) throws(FuzzFinding) {
        for action in actions {
            switch action {
            case .accept(let id, _):
                try require(!known.contains(id), "stream \(id) was accepted twice")
                known.append(id)
            case .wakeReader: break
            case .failSender(let ticket, _):
                try require(waiting.removeValue(forKey: ticket) != nil, "a sender failed twice")
            case .close: closings += 1
            }
        }
    }

    private mutating func note(_ output: MuxStateMachine.Output) throws(FuzzFinding) {
        let frame = output.frame
        if let ticket = output.finishedTicket {
            try require(waiting.removeValue(forKey: ticket) != nil, "a sender finished twice")
        }
        if machine.ended != nil { framesAfterTheEnd += 1 }
        guard frame.type == .data || frame.type == .message else { return }
        sent[frame.stream, default: 0] += frame.payload.readableBytes
        let most = MuxTarget.settings.windowBytes + credit[frame.stream, default: 0]
        try require(sent[frame.stream, default: 0] <= most, "stream \(frame.stream) sends more than its credit")
        try require(frame.payload.readableBytes <= MuxTarget.settings.framePayloadBytes, "an oversize frame")
    }

    private func check() throws(FuzzFinding) {
        let settings = MuxTarget.settings
        try require(machine.committedBytes >= 0, "negative bytes")
        try require(
            machine.committedBytes <= max(settings.sendBufferBytes, Self.largestSend), "too many bytes are kept")
        try require(machine.streamCount <= 2 * settings.streamsPerOpener, "too many streams")
        try require(closings == (machine.ended == nil ? 0 : 1), "the link is closed \(closings) times")
        try require(framesAfterTheEnd <= 1, "frames after the end")
        if machine.ended != nil { try require(waiting.isEmpty, "senders wait for a link that has ended") }
    }
}
