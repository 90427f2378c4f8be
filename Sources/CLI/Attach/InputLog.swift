import FastableCore
import Foundation
import Synchronization

/// What this program has to tell a command: bytes for its input, kept until the command has them, and wishes.
///
/// It outlives connections: a new one begins with the first byte of which nobody knows that it arrived.
final class InputLog: @unchecked Sendable {
    enum Item {
        case bytes(Data)
        /// Behind everything before this offset; `nil` while nobody has told where this input begins.
        case end(UInt64?)
        case control(JSONValue)
    }

    /// Bytes that wait; more are not read from standard input.
    private static let capacity = 1024 * 1024
    private static let pieceBytes = 32 * 1024

    private let condition = NSCondition()
    private var hasBegun: Bool
    /// Bytes from `passed` on.
    private var kept = Data()
    private var passed: UInt64 = 0
    private var hasEnded = false
    private var endSent = false
    private var controls: [JSONValue] = []
    private var sent: UInt64 = 0
    /// What the command has been given, as far as it was told.
    private var told: UInt64 = 0
    private var wake: AsyncStream<Void>.Continuation?

    init(isFirstWriter: Bool) { hasBegun = isFirstWriter }

    private func locked<Value>(_ body: () throws -> Value) rethrows -> Value {
        condition.lock()
        defer { condition.unlock() }
        return try body()
    }

    // MARK: filling, from any thread

    /// Waits while there is no room.
    func append(_ bytes: Data) {
        locked {
            while kept.count >= Self.capacity { condition.wait() }
            kept.append(bytes)
            wake?.yield()
        }
    }

    func finish() {
        locked {
            hasEnded = true
            wake?.yield()
        }
    }

    func ask(_ control: JSONValue) {
        locked {
            controls.append(control)
            wake?.yield()
        }
    }

    // MARK: emptying, by one connection at a time

    var isConnected: Bool { locked { wake != nil } }

    /// Where a connection begins, and news for it.
    func connect() -> AsyncStream<Void> {
        let (news, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        locked {
            sent = passed
            endSent = false
            self.wake = wake
            wake.yield()
        }
        return news
    }

    func disconnect() { locked { wake = nil } }

    /// The offset behind which a new connection writes.
    /// `nil` before the first connection has told where the input begins.
    var offset: UInt64? { locked { hasBegun ? passed : nil } }

    /// A connection tells how much the command has been sent before. For the first one of a later writer that is the beginning.
    func began(at start: UInt64) {
        locked {
            guard !hasBegun else { return }
            hasBegun = true
            passed += start
            sent += start
            told = max(told, start)
        }
    }

    func next() -> Item? {
        locked {
            if !controls.isEmpty { return .control(controls.removeFirst()) }
            let start = kept.startIndex + Int(sent - passed)
            let piece = kept[start...].prefix(Self.pieceBytes)
            if !piece.isEmpty {
                let bytes = Data(piece)
                sent += UInt64(bytes.count)
                forget()
                return .bytes(bytes)
            }
            guard hasEnded, !endSent else { return nil }
            endSent = true
            return .end(hasBegun ? sent : nil)
        }
    }

    /// The command has been given everything before `offset`.
    func passed(upTo offset: UInt64) {
        locked {
            told = max(told, offset)
            forget()
        }
    }

    /// Lets go of what the command has been given, but of nothing that this connection has not sent: the other end counts what
    /// comes from the offset on with which the connection began. What an earlier connection had sent is sent again and skipped.
    private func forget() {
        let offset = min(told, sent)
        guard offset > passed, offset - passed <= UInt64(kept.count) else { return }
        kept = Data(kept.dropFirst(Int(offset - passed)))
        passed = offset
        condition.signal()
    }
}
