import Dispatch
import Glibc
import NodeLinux
import TestSupport
import Testing

@Suite struct BlockingPoolTests {
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

    @Test func errorsComeBack() async throws {
        await #expect(throws: CancellationError.self) {
            try await BlockingPool.shared.run { throw CancellationError() }
        }
    }
}
