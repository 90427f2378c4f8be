import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat

/// A command at the fake node. What it does is told by its command line.
struct FakeExec: Sendable {
    let node: FakeNode
    let call: FakeCall

    /// Five megabytes with every byte value in them, and no period that a buffer size divides.
    static let stdout = Data((0..<5_000_011).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 11) })
    static let stderr = Data((0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 17 &+ $0 >> 9) })

    func run() async throws {
        let start: ExecStart = try call.arguments()
        let signals = node.started(start)
        try await send(.started(container: ContainerID(), stdoutOffset: 0, stderrOffset: 0, inputOffset: 0))
        let words = (start.command.arguments.last ?? "").split(separator: " ").map(String.init)
        switch words.first {
        case "exit": try await finish(start, code: Int32(words[1]))
        case "signal": try await finish(start, signal: words[1])
        case "timeout": try await finish(start, signal: "SIGKILL", timedOut: true)
        case "oom":
            try await finish(start, signal: "SIGKILL", hit: LimitHit(.memory, limitBytes: 64 << 20, process: "node"))
        case "print":
            try await write("out\n", 1)
            try await write("err\n", 2)
            try await finish(start, code: 0)
        case "gap":
            try await write("ab", 1)
            try await tellGaps()
            try await write("c\n", 1)
            try await finish(start, code: 0)
        case "bytes":
            async let first: Void = write(Self.stdout, 1)
            async let second: Void = write(Self.stderr, 2)
            _ = try await (first, second)
            try await finish(start, code: 0)
        case "cut", "lost":
            try await write("ready\n", 1)
            // Who only starts a command has to hear that it has started.
            guard start.isFollowed else { return try await wait(start, signals, ends: false) }
            throw FastableError(.unavailable, "The link is lost.")
        case "endless":
            // Not as fast as it goes: reading that would be all that a busy machine does.
            while true {
                try await write("more\n", 1)
                try await Task.sleep(for: .milliseconds(1))
            }
        case "wait", "stubborn":
            try await write("ready\n", 1)
            try await wait(start, signals, ends: words.first == "wait")
        default: try await finish(start, code: 127)
        }
    }

    /// What is there from the follower's offsets on: `cut` has more to say, `lost` is not there any more.
    func attach() async throws {
        let attach: ExecAttach = try call.arguments()
        guard let start = node.starts.first(where: { $0.exec == attach.exec }) else {
            throw FastableError(.notFound, "There is no such command.")
        }
        let words = start.command.arguments.last ?? ""
        node.isAttachedTo()
        guard words != "lost" else { throw FastableError(.unavailable, "The link is lost.") }
        let signals = node.signals(of: start.exec)
        try await send(
            .started(
                container: ContainerID(), stdoutOffset: attach.stdoutOffset, stderrOffset: attach.stderrOffset,
                inputOffset: 0))
        guard words != "gap" else {
            try await tellGaps()
            try await write("c\n", 1)
            return try await finish(start, code: 0)
        }
        guard words != "cut" else {
            try await write(Data("ready\nand on\n".utf8.dropFirst(Int(attach.stdoutOffset))), 1)
            return try await finish(start, code: 3)
        }
        try await write(Data("ready\n".utf8.dropFirst(Int(attach.stdoutOffset))), 1)
        if words == "cut stubborn" { try await write("attached\n", 1) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while let event = try await call.stream.next() {
                    guard case .message(let payload) = event,
                        case .signal(let number) = try JSON.decode(ExecControl.self, from: Data(buffer: payload))
                    else { continue }
                    node.signalled(start.exec, number)
                }
            }
            defer { group.cancelAll() }
            try await wait(start, signals, ends: words == "wait")
        }
    }

    private func wait(_ start: ExecStart, _ signals: AsyncStream<Int32>, ends: Bool) async throws {
        for await signal in signals {
            if signal == 9 { return try await finish(start, signal: "SIGKILL") }
            if ends { return try await finish(start, signal: "SIGINT") }
            try await write("got \(signal)\n", 1)
        }
    }

    /// Some bytes of both streams are no longer there.
    private func tellGaps() async throws {
        try await send(.gap(channel: 1, from: 2, to: 100))
        try await send(.gap(channel: 2, from: 0, to: 7))
    }

    private func write(_ text: String, _ channel: UInt8) async throws { try await write(Data(text.utf8), channel) }

    private func write(_ bytes: Data, _ channel: UInt8) async throws {
        try await call.stream.send(data: ByteBuffer(data: bytes), channel: channel)
    }

    private func finish(
        _ start: ExecStart, code: Int32? = nil, signal: String? = nil, timedOut: Bool = false, hit: LimitHit? = nil
    ) async throws {
        try await send(
            .finished(
                ExecResult(
                    exec: start.exec, exitCode: code, signal: signal, timedOut: timedOut, startedAt: Date(),
                    durationMilliseconds: 1, stdoutBytes: 0, stderrBytes: 0, limitHit: hit)))
        try await call.stream.finish()
    }

    private func send(_ event: ExecEvent) async throws {
        try await call.stream.send(message: ByteBuffer(data: try JSON.encode(event)))
    }
}
