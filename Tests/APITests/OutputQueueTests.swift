import AsyncHTTPClient
import ControllerAPI
import NIOCore
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct OutputQueueTests {
    private let loop: any EventLoop = HTTPClient.defaultEventLoopGroup.next()

    @Test(arguments: seeds())
    func everythingComesInOrder(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let sizes = (0..<3000).map { _ in Int.random(in: 0...40, using: &generator) }
        let queue = OutputQueue<Int>(limit: 100)
        async let sent: Void = {
            for (number, size) in sizes.enumerated() { try await queue.send(number, bytes: size) }
            queue.finish(with: -1)
        }()
        var received: [Int] = []
        loop: while true {
            switch try await queue.next(on: self.loop, within: .minutes(5)) {
            case .elements(let elements): received.append(contentsOf: elements)
            case .quiet: Issue.record("nothing came")
            case .finished: break loop
            }
        }
        try await sent
        #expect(received == Array(sizes.indices) + [-1])
    }

    @Test func aFullQueueHoldsTheSender() async throws {
        let queue = OutputQueue<Int>(limit: 10)
        let count = Mutex(0)
        let sender = Task {
            for number in 0..<100 {
                try await queue.send(number, bytes: 4)
                count.withLock { $0 += 1 }
            }
        }
        try await eventually("it has sent what fits") { count.withLock { $0 } == 3 }
        guard case .elements(let first) = try await queue.next(on: loop) else {
            Issue.record("nothing there")
            return
        }
        #expect(first == [0, 1, 2])
        queue.abandon()
        try await sender.value
        #expect(count.withLock { $0 } == 100, "after abandon nobody waits")
    }

    @Test func aCancelledSenderThrows() async throws {
        let queue = OutputQueue<Int>(limit: 1)
        let sender = Task {
            for number in 0..<3 { try await queue.send(number, bytes: 1) }
        }
        try await Task.sleep(for: .milliseconds(50))
        sender.cancel()
        await #expect(throws: CancellationError.self) { try await sender.value }
    }

    @Test func aCancelledReaderThrows() async throws {
        let queue = OutputQueue<Int>(limit: 1)
        let loop = loop
        let reader = Task { _ = try await queue.next(on: loop) }
        try await Task.sleep(for: .milliseconds(50))
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
    }

    @Test func silenceIsTold() async throws {
        let queue = OutputQueue<Int>(limit: 10)
        let began = ContinuousClock.now
        guard case .quiet = try await queue.next(on: loop, within: .milliseconds(80)) else {
            Issue.record("not quiet")
            return
        }
        #expect(ContinuousClock.now - began >= .milliseconds(70))
    }

    @Test func earlyElementsAreHeldTogether() async throws {
        // Where the machine stands still so long that the second one comes too late, there is more time for it.
        for seconds in [1, 10, 100] as [Int64] {
            let queue = OutputQueue<Int>(limit: 1000)
            try await queue.send(1, bytes: 1)
            let earliest = NIODeadline.now() + .seconds(seconds)
            async let batch = queue.next(on: loop, notBefore: earliest, within: .minutes(5))
            try await Task.sleep(for: .milliseconds(30))
            try await queue.send(2, bytes: 1)
            let isInTime = NIODeadline.now() < earliest
            guard case .elements(let elements) = try await batch else {
                Issue.record("nothing there")
                return
            }
            #expect(NIODeadline.now() >= earliest)
            guard isInTime else { continue }
            #expect(elements == [1, 2])
            return
        }
        Issue.record("the second element was never in time")
    }

    @Test func theEndIsNotHeld() async throws {
        let queue = OutputQueue<Int>(limit: 1000)
        try await queue.send(1, bytes: 1)
        async let batch = queue.next(on: loop, notBefore: .now() + .hours(1))
        queue.finish(with: 2)
        guard case .elements(let elements) = try await batch else {
            Issue.record("nothing there")
            return
        }
        #expect(elements == [1, 2])
    }

    @Test func theLastElementIsTakenFromACancelledSender() async throws {
        let queue = OutputQueue<Int>(limit: 1)
        let sender = Task {
            try? await Task.sleep(for: .seconds(3600))
            queue.finish(with: 5)
        }
        sender.cancel()
        guard case .elements([5]) = try await queue.next(on: loop, within: .minutes(5)) else {
            Issue.record("the last element is missing")
            return
        }
    }
}
