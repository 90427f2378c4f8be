import FastableCore
import NIOCore

// The side of the event loop. None of these wakes the loop needlessly: the handler sends before it returns.

extension MuxCore {
    func attach(wakeLoop: @escaping @Sendable () -> Void) {
        change { state, _ in state.wakeLoop = wakeLoop }
    }

    func receive(_ frame: Frame) {
        let now = ContinuousClock.now
        feed { $0.receive(frame, now: now) }
    }

    func heard() {
        let now = ContinuousClock.now
        feed { machine in
            machine.heard(now: now)
            return []
        }
    }

    func violation(_ what: String) { feed { $0.violation(what) } }

    func linkLost(_ context: String) { feed { $0.linkLost(context) } }

    /// The time until the next tick.
    func tick() -> Duration {
        let now = ContinuousClock.now
        return feedValue { machine in
            let (actions, next) = machine.tick(now: now)
            return (next - now, actions)
        }
    }

    /// Takes frames out until `byteCount` is reached; resumes the senders whose content is among them.
    func takeFrames(upTo byteCount: Int) -> [Frame] {
        change { state, aftermath in
            state.isLoopWoken = true
            var frames: [Frame] = []
            var bytes = 0
            while bytes < byteCount, let output = state.machine.nextFrame() {
                frames.append(output.frame)
                bytes += FrameHeader.byteCount + output.frame.payload.readableBytes
                if let ticket = output.finishedTicket, let sender = state.senders.removeValue(forKey: ticket) {
                    aftermath.senders.append((sender, nil))
                }
            }
            return frames
        }
    }

    /// The loop has sent what it could. Gives how the link ended, if it did.
    func sent(isWritable: Bool) -> MuxStateMachine.Ended? {
        change { state, _ in
            state.isLoopWoken = false
            state.isWritable = isWritable
            return state.machine.ended
        }
    }

    /// The handler needs no waking any more.
    func detach() {
        change { state, _ in
            state.wakeLoop = nil
        }
    }

    private func feed(_ event: (inout MuxStateMachine) -> [MuxAction]) {
        feedValue { ((), event(&$0)) }
    }

    private func feedValue<Value: Sendable>(_ event: (inout MuxStateMachine) -> (Value, [MuxAction])) -> Value {
        change { state, aftermath in
            // The handler drains the machine after every read and tick; until then nobody else needs to wake it.
            state.isLoopWoken = true
            let (value, actions) = event(&state.machine)
            if !actions.isEmpty { state.follow(actions, &aftermath) }
            return value
        }
    }
}
