package import ControllerServices
import FastableCore
import NIOCore

/// Makes progress messages of what a command prints.
///
/// Everything that came since the last message becomes one, and of that the last few kilobytes are shown: progress is for watching,
/// the whole output is in the result.
package struct MCPProgress: Sendable {
    /// At most this much output stands in one message.
    static let shownBytes = 4096
    /// Messages of one call are at least this far apart.
    static let interval = TimeAmount.milliseconds(100)

    private var splitters: [UInt8: TextSplitter] = [:]
    private var text = ""
    /// How many messages there were; it is the `progress` value of the last one.
    package private(set) var count = 0

    package init() {}

    package mutating func add(_ event: OperationEvent) {
        switch event {
        case .execStarted: break
        case .found(let items):
            if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
            for item in items {
                let place = [item["path"]?.string, item["line"]?.integer.map(String.init), item["text"]?.string]
                text += place.compactMap(\.self).joined(separator: ":") + "\n"
            }
        case .progress(let message, let fraction):
            if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
            text += fraction.map { "\(message) (\(Int(($0 * 100).rounded())) %)\n" } ?? "\(message)\n"
        case .missing(_, let from, let to):
            if !text.isEmpty, !text.hasSuffix("\n") { text += "\n" }
            text += "[\(to - min(from, to)) bytes are no longer kept]\n"
        case .output(let channel, let bytes):
            guard let piece = splitters[channel, default: TextSplitter()].take(bytes) else { return }
            // Only the end will be shown: a flood is not worth decoding.
            text += String(decoding: piece.bytes.readableBytesView.suffix(Self.shownBytes), as: UTF8.self)
        }
    }

    /// What there is to say since the last message; `nil` for nothing.
    package mutating func takeMessage() -> String? {
        guard !text.isEmpty else { return nil }
        defer { text = "" }
        count += 1
        guard text.utf8.count > Self.shownBytes else { return text }
        // Cut between characters: a continuation byte cannot begin a text.
        let end = text.utf8.suffix(Self.shownBytes).drop { $0 & 0xc0 == 0x80 }
        return "…" + String(Substring(end))
    }
}
