import Dispatch
import Glibc
import NodeLinux
import Synchronization
import TestSupport
import Testing

@Suite struct BlockingPoolTests {
    /// How many there are at a time at most.
    private final class Peak: Sendable {
        private let state = Mutex((now: 0, most: 0))
        var height: Int { state.withLock { $0.most } }
        func rise() { state.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
        func fall() { state.withLock { $0.now -= 1 } }
    }

    @Test func manyJobsBeyondTheThreadLimit() async throws {
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<2000 {
                group.addTask {
                    try await BlockingPool.shared.run {
                        usleep(500)
                        return number
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(total == 2000 * 1999 / 2)
    }

    @Test(.endsInTime) func waitingJobsHoldNobodyUp() async throws {
        let gate = DispatchSemaphore(value: 0)
        let waiters = (0..<50).map { _ in
            Task { try await BlockingPool.shared.run { _ = gate.wait(timeout: .now() + 600) } }
        }
        try await BlockingPool.shared.run {}
        for _ in waiters { gate.signal() }
        for waiter in waiters { _ = try await waiter.value }
    }

    /// Jobs of one owner that never end keep all threads, and take none from another one.
    @Test(.endsInTime) func oneLaneHoldsUpNoOther() async throws {
        let pool = BlockingPool(threadLimit: 4)
        let (stuck, other) = (BlockingPool.Lane(), BlockingPool.Lane())
        let gate = DispatchSemaphore(value: 0)
        let begun = Atomic(0)
        let ended = Atomic(0)
        for _ in 0..<100 {
            pool.submit(in: stuck) {
                begun.add(1, ordering: .relaxed)
                gate.wait()
                ended.add(1, ordering: .relaxed)
            }
        }
        try await eventually("they have the threads") { begun.load(ordering: .relaxed) == 4 }
        let most = Peak()
        for count in [1, 1, 50] {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        try await pool.run(in: other) {
                            most.rise()
                            usleep(100)
                            most.fall()
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        #expect(most.height == 1, "beyond the limit it gets one thread")
        #expect(begun.load(ordering: .relaxed) == 4)
        for _ in 0..<100 { gate.signal() }
        try await eventually("the others go on") { ended.load(ordering: .relaxed) == 100 }
    }

    @Test(.endsInTime) func lanesTakeTurns() async throws {
        let pool = BlockingPool(threadLimit: 3)
        let (many, few) = (BlockingPool.Lane(), BlockingPool.Lane())
        let (one, rest) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let begun = Atomic(0)
        for (lane, gate) in [(many, one), (many, rest), (few, rest)] {
            pool.submit(in: lane) {
                begun.add(1, ordering: .relaxed)
                gate.wait()
            }
        }
        try await eventually("all threads are taken") { begun.load(ordering: .relaxed) == 3 }
        let order = Mutex<[String]>([])
        for number in 0..<4 { pool.submit(in: many) { order.withLock { $0.append("many \(number)") } } }
        for number in 0..<2 { pool.submit(in: few) { order.withLock { $0.append("few \(number)") } } }
        one.signal()
        try await eventually("one thread does all of it") { order.withLock { $0.count } == 6 }
        #expect(order.withLock { $0 } == ["many 0", "few 0", "many 1", "few 1", "many 2", "many 3"])
        for _ in 0..<2 { rest.signal() }
    }

    @Test func errorsComeBack() async throws {
        await #expect(throws: CancellationError.self) {
            try await BlockingPool.shared.run { throw CancellationError() }
        }
    }
}
