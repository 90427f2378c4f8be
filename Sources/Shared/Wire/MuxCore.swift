import FastableCore
import NIOCore
import Synchronization

/// The machine of one link behind a lock, with the tasks that wait for it.
///
/// Tasks call it from anywhere and mostly return at once: a send that has credit and room, and a read of what has arrived,
/// cost one short lock and no hop. The event loop feeds it frames and takes frames out (`MuxChannelHandler`).
/// Continuations are resumed, and the loop is woken, only after the lock is given back.
final class MuxCore: Sendable {
    typealias Reader = CheckedContinuation<MuxStream.Event?, any Error>
    typealias Sender = CheckedContinuation<Void, any Error>
    typealias Acceptor = CheckedContinuation<(UInt32, ByteBuffer)?, Never>

    struct State {
        var machine: MuxStateMachine
        var readers: [UInt32: Reader] = [:]
        var senders: [UInt64: Sender] = [:]
        var lastTicket: UInt64 = 0
        /// Streams of the peer that `run` has not yet handed out; bounded by the machine's stream limit.
        var arrived = CircularBuffer<(UInt32, ByteBuffer)>(initialCapacity: 4)
        var acceptor: Acceptor?
        var isRunning = false
        /// Wakes the event loop; `nil` before the handler is in its channel and after it left.
        var wakeLoop: (@Sendable () -> Void)?
        var isLoopWoken = false
        /// Whether the network takes more. While it does not, the loop needs no waking: it comes by itself.
        var isWritable = true
        var isClosing = false
    }

    let loop: any EventLoop
    private let state: Mutex<State>

    init(role: MuxRole, settings: MuxSettings, loop: any EventLoop) {
        self.loop = loop
        state = Mutex(State(machine: MuxStateMachine(role: role, settings: settings, now: .now)))
    }

    /// What is to be done after the lock is given back.
    struct Aftermath: Sendable {
        var readers: [(Reader, Result<MuxStream.Event?, any Error>)] = []
        var senders: [(Sender, (any Error)?)] = []
        var acceptor: (Acceptor, (UInt32, ByteBuffer)?)?
        var wakeLoop: (@Sendable () -> Void)?

        func perform() {
            for (reader, result) in readers { reader.resume(with: result) }
            for (sender, error) in senders {
                if let error { sender.resume(throwing: error) } else { sender.resume() }
            }
            if let (acceptor, stream) = acceptor { acceptor.resume(returning: stream) }
            wakeLoop?()
        }
    }

    /// Runs `body` under the lock, then resumes whom it woke and wakes the loop if there is something to send.
    @discardableResult
    func change<Value: Sendable>(_ body: (inout State, inout Aftermath) -> Value) -> Value {
        let (value, aftermath) = state.withLock { state -> (Value, Aftermath) in
            var aftermath = Aftermath()
            let value = body(&state, &aftermath)
            state.wakeIfNeeded(&aftermath)
            return (value, aftermath)
        }
        aftermath.perform()
        return value
    }
}

extension MuxCore.State {
    fileprivate mutating func wakeIfNeeded(_ aftermath: inout MuxCore.Aftermath) {
        guard !isLoopWoken, let wakeLoop, isWritable && machine.hasOutput || isClosing else { return }
        isLoopWoken = true
        aftermath.wakeLoop = wakeLoop
    }

    /// Carries out what the machine wants, as far as tasks are concerned.
    mutating func follow(_ actions: [MuxAction], _ aftermath: inout MuxCore.Aftermath) {
        for action in actions {
            switch action {
            case .accept(let stream, let opening):
                if let acceptor {
                    self.acceptor = nil
                    aftermath.acceptor = (acceptor, (stream, opening))
                } else {
                    arrived.append((stream, opening))
                }
            case .wakeReader(let stream):
                wakeReader(stream, &aftermath)
            case .failSender(let ticket, let error):
                if let sender = senders.removeValue(forKey: ticket) { aftermath.senders.append((sender, error)) }
            case .close:
                close(&aftermath)
            }
        }
    }

    private mutating func wakeReader(_ stream: UInt32, _ aftermath: inout MuxCore.Aftermath) {
        guard let index = readers.index(forKey: stream) else { return }
        let reader = readers.values[index]
        switch machine.take(stream) {
        case .event(let event): aftermath.readers.append((reader, .success(event)))
        case .finished: aftermath.readers.append((reader, .success(nil)))
        case .failed(let error): aftermath.readers.append((reader, .failure(error)))
        case .empty: return
        }
        readers.remove(at: index)
    }

    private mutating func close(_ aftermath: inout MuxCore.Aftermath) {
        isClosing = true
        for (stream, _) in arrived { machine.release(stream) }
        arrived.removeAll()
        if let acceptor {
            self.acceptor = nil
            aftermath.acceptor = (acceptor, nil)
        }
    }
}
