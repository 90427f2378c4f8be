import FastableCore
package import NIOCore
import Synchronization

/// What a command printed while somebody waited for it, and how it ended.
struct Gathered: Sendable {
    /// `nil` while it runs.
    var result: ExecResult?
    var stdout = CappedOutput(limit: Limits.toolOutputBytes)
    var stderr = CappedOutput(limit: Limits.toolOutputBytes)
    /// Behind the last byte of each stream.
    var offsets: ExecOffsets
    /// Bytes that were asked for and are no longer kept.
    var missingBytes: UInt64 = 0

    init(_ offsets: ExecOffsets) { self.offsets = offsets }

    mutating func add(_ event: ExecAttachment.Event) {
        switch event {
        case .data(let channel, let offset, let bytes):
            let end = offset + UInt64(bytes.readableBytes)
            if channel == ExecEvents.stdout {
                stdout.append(bytes, at: offset)
                offsets.stdout = end
            } else {
                stderr.append(bytes, at: offset)
                offsets.stderr = end
            }
        case .gap(let channel, let from, let to):
            missingBytes += to - min(from, to)
            if channel == ExecEvents.stdout { offsets.stdout = to } else { offsets.stderr = to }
        case .finished(let result): self.result = result
        case .inputPassed: break
        }
    }
}

/// Collects while it follows, so that what came until a deadline is there when the deadline passes.
final class Gathering: Sendable {
    private let state: Mutex<Gathered>

    init(_ offsets: ExecOffsets) { state = Mutex(Gathered(offsets)) }

    var gathered: Gathered { state.withLock { $0 } }

    func follow(_ attachment: ExecAttachment, listener: ExecService.Listener?) async throws {
        var attachment = attachment
        while let event = try await attachment.next() {
            state.withLock { $0.add(event) }
            switch event {
            case .data(let channel, _, let bytes): try await listener?(.output(channel: channel, bytes))
            case .gap(let channel, let from, let to):
                try await listener?(.missing(channel: channel, from: from, to: to))
            case .inputPassed, .finished: break
            }
        }
    }
}

/// A part of one output stream, without a hole in it.
package struct ExecPage: Sendable {
    let stream: ExecStreamName
    /// Of the first byte of the page; above the wanted one when older bytes are no longer kept.
    package private(set) var offset: UInt64
    package private(set) var bytes = ByteBuffer()
    /// Present when bytes in front of the page are no longer kept.
    package private(set) var gap: (from: UInt64, to: UInt64)?
    /// It ends where bytes behind it are no longer kept: they are a gap in front of the next page.
    package private(set) var isOver = false
    private(set) var running: Bool
    /// Bytes printed so far.
    var totalBytes: UInt64 = 0

    package init(stream: ExecStreamName, offset: UInt64, running: Bool) {
        self.stream = stream
        self.offset = offset
        self.running = running
    }

    package var nextOffset: UInt64 { offset + UInt64(bytes.readableBytes) }

    package mutating func add(_ event: ExecAttachment.Event, channel wanted: UInt8, limit: Int) {
        switch event {
        case .data(wanted, let start, var part):
            if bytes.readableBytes > 0, start != nextOffset { isOver = true }
            guard !isOver else { return }
            if bytes.readableBytes == 0 { offset = start }
            guard let slice = part.readSlice(length: min(part.readableBytes, limit - bytes.readableBytes)) else {
                return
            }
            bytes.writeImmutableBuffer(slice)
        case .gap(wanted, let from, let to):
            if bytes.readableBytes > 0 { isOver = true }
            guard !isOver else { return }
            gap = (gap?.from ?? from, to)
            offset = to
        case .finished: running = false
        case .data, .gap, .inputPassed: break
        }
    }

    /// The page as text, without a character that is cut at its end while more may come.
    mutating func text() -> String {
        let view = bytes.readableBytesView
        var count = view.count
        if running || nextOffset < totalBytes {
            for (distance, byte) in view.suffix(4).reversed().enumerated() where byte & 0xc0 != 0x80 {
                let length = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
                if distance + 1 < length, count > distance + 1 { count -= distance + 1 }
                break
            }
        }
        bytes = bytes.getSlice(at: bytes.readerIndex, length: count) ?? bytes
        return String(decoding: bytes.readableBytesView, as: UTF8.self)
    }
}
