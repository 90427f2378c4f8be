import FastableCore
import FastableWire
import NIOCore
import NIOPosix
import TestSupport
import Testing

extension SeededGenerator {
    mutating func bytes(_ count: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        for _ in 0..<count { buffer.writeInteger(UInt8.random(in: .min ... .max, using: &self)) }
        return buffer
    }
}

extension ByteBuffer {
    var bytes: [UInt8] { Array(readableBytesView) }
}

func text(_ string: String) -> ByteBuffer { ByteBuffer(string: string) }

/// A buffer whose byte at each place tells the place, so that a gap or a swap shows.
func pattern(_ count: Int, from offset: Int = 0) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(count)
    var place = offset % patternTable.count
    while buffer.readableBytes < count {
        let length = min(patternTable.count - place, count - buffer.readableBytes)
        buffer.writeBytes(patternTable[place..<(place + length)])
        place = 0
    }
    return buffer
}

/// A prime number of bytes: no size that a buffer, frame or window has divides it.
private let patternTable: [UInt8] = {
    var random = SeededGenerator(seed: 1)
    return (0..<65_521).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}()

/// Runs both ends of a link over a socket pair while `body` runs, then closes it.
func withLink(
    settings: MuxSettings = MuxSettings(),
    dialerAccepts: @escaping @Sendable (MuxStream) async -> Void = { _ in },
    listenerAccepts: @escaping @Sendable (MuxStream) async -> Void = { _ in },
    _ body: @Sendable (_ dialer: MuxConnection, _ listener: MuxConnection) async throws -> Void
) async throws {
    let (dialer, listener) = try await MuxConnection.socketPair(
        on: MultiThreadedEventLoopGroup.singleton, settings: settings)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try? await dialer.run(accept: dialerAccepts) }
        group.addTask { try? await listener.run(accept: listenerAccepts) }
        defer {
            dialer.close(reason: "The test is over.")
            listener.close(reason: "The test is over.")
        }
        try await body(dialer, listener)
    }
    await dialer.waitUntilClosed()
    await listener.waitUntilClosed()
}

/// Sends everything back on channel 1, then ends.
@Sendable func echo(_ stream: MuxStream) async {
    do {
        while let event = try await stream.next() {
            switch event {
            case .message(let bytes): try await stream.send(message: bytes)
            case .data(_, let bytes): try await stream.send(data: bytes, channel: 1)
            case .end: try await stream.finish()
            }
        }
    } catch {
        stream.reset(FastableError.unexpected(error, doing: "echoing"))
    }
}

/// Reads to the end; data of all channels joined.
func readAll(_ stream: MuxStream) async throws -> ByteBuffer {
    var all = ByteBuffer()
    while let event = try await stream.next() {
        if case .data(_, let bytes) = event { all.writeImmutableBuffer(bytes) }
    }
    return all
}

/// Records an issue; unlike `Issue.record` it can stand behind `return`.
func fail(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    Issue.record("\(what)", sourceLocation: sourceLocation)
}
