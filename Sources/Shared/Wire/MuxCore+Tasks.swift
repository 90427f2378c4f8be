import FastableCore
import NIOCore

// The side of the tasks.

extension MuxCore {
    func open(_ opening: ByteBuffer) throws -> UInt32 {
        try change { state, _ in state.machine.open(opening) }.get()
    }

    nonisolated(nonsending) func send(_ content: MuxContent, on stream: UInt32) async throws {
        try Task.checkCancellation()
        switch change({ state, _ in state.machine.send(content, on: stream, ticket: nil) }) {
        case .committed: return
        case .failed(let error): throw error
        case .wouldWait, .waiting: try await waitToSend(content, on: stream)
        }
    }

    private nonisolated(nonsending) func waitToSend(_ content: MuxContent, on stream: UInt32) async throws {
        let ticket = change { state, _ in
            state.lastTicket += 1
            return state.lastTicket
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (sender: Sender) in
                change { state, aftermath in
                    // Asked under the lock: a cancellation before this is seen here, a later one finds the sender.
                    if Task.isCancelled { return aftermath.senders.append((sender, CancellationError())) }
                    switch state.machine.send(content, on: stream, ticket: ticket) {
                    case .committed: aftermath.senders.append((sender, nil))
                    case .failed(let error): aftermath.senders.append((sender, error))
                    case .waiting, .wouldWait: state.senders[ticket] = sender
                    }
                }
            }
        } onCancel: {
            change { state, aftermath in
                guard let sender = state.senders.removeValue(forKey: ticket) else { return }
                state.machine.cancelSend(on: stream, ticket: ticket)
                aftermath.senders.append((sender, CancellationError()))
            }
        }
    }

    nonisolated(nonsending) func next(_ stream: UInt32) async throws -> MuxStream.Event? {
        switch change({ state, _ in state.machine.take(stream) }) {
        case .event(let event): return event
        case .finished: return nil
        case .failed(let error): throw error
        case .empty: break
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (reader: Reader) in
                change { state, aftermath in state.await(stream, reader, &aftermath) }
            }
        } onCancel: {
            change { state, aftermath in
                guard let reader = state.readers.removeValue(forKey: stream) else { return }
                aftermath.readers.append((reader, .failure(CancellationError())))
            }
        }
    }

    func finish(_ stream: UInt32) throws {
        if let error = change({ state, _ in state.machine.finish(stream) }) { throw error }
    }

    func reset(_ stream: UInt32, _ error: FastableError) {
        change { state, aftermath in state.follow(state.machine.reset(stream, error), &aftermath) }
    }

    /// The program holds no `MuxStream` of that number any more.
    func release(_ stream: UInt32) {
        change { state, _ in state.machine.release(stream) }
    }

    func close(reason: String) {
        change { state, aftermath in state.follow(state.machine.close(reason: reason), &aftermath) }
    }

    /// The next stream of the peer; `nil` when the link is over. One caller.
    func nextArrived() async -> (UInt32, ByteBuffer)? {
        await withCheckedContinuation { (acceptor: Acceptor) in
            change { state, aftermath in
                if let stream = state.arrived.popFirst() {
                    aftermath.acceptor = (acceptor, stream)
                } else if state.machine.ended != nil {
                    aftermath.acceptor = (acceptor, nil)
                } else {
                    state.acceptor = acceptor
                }
            }
        }
    }
}

extension MuxCore.State {
    fileprivate mutating func await(
        _ stream: UInt32, _ reader: MuxCore.Reader, _ aftermath: inout MuxCore.Aftermath
    ) {
        if Task.isCancelled { return aftermath.readers.append((reader, .failure(CancellationError()))) }
        guard readers[stream] == nil else {
            let error = FastableError(.conflict, "Only one task may read a stream at a time.")
            return aftermath.readers.append((reader, .failure(error)))
        }
        switch machine.take(stream) {
        case .event(let event): aftermath.readers.append((reader, .success(event)))
        case .finished: aftermath.readers.append((reader, .success(nil)))
        case .failed(let error): aftermath.readers.append((reader, .failure(error)))
        case .empty: readers[stream] = reader
        }
    }
}
