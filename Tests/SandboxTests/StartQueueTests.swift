import FastableCore
import NodeSandbox
import TestSupport
import Testing

@Suite struct StartQueueTests {
    private let start = ContinuousClock.now
    private let first = WorkspaceID()
    private let second = WorkspaceID()
    private let mebibyte = 1024 * 1024

    /// A queue whose events can stand in an expectation.
    private final class Line {
        private var queue: StartQueue
        init(
            atOnce: Int, perMinute: Int = Limits.startsPerMinute, waitingMost: Int = Limits.startsWaiting,
            longestWait: Duration = .seconds(Limits.startQueueSeconds)
        ) {
            queue = StartQueue(
                atOnce: atOnce, perMinute: perMinute, waitingMost: waitingMost, longestWait: longestWait)
        }
        var runningCount: Int { queue.runningCount }
        var waitingCount: Int { queue.waitingCount }
        func place(of container: ContainerID, now: StartQueue.Instant = .now) -> StartPlace? {
            queue.place(of: container, now: now)
        }
        func arrive(_ wish: StartQueue.Wish, availableBytes: Int?, now: StartQueue.Instant) -> [StartQueue.Action] {
            queue.arrive(wish, availableBytes: availableBytes, now: now)
        }
        func leave(
            _ container: ContainerID, availableBytes: Int?, now: StartQueue.Instant
        ) -> [StartQueue.Action] {
            queue.leave(container, availableBytes: availableBytes, now: now)
        }
        func look(availableBytes: Int?, now: StartQueue.Instant) -> [StartQueue.Action] {
            queue.look(availableBytes: availableBytes, now: now)
        }
    }

    private func wish(_ workspace: WorkspaceID, memoryBytes: Int = 0) -> StartQueue.Wish {
        StartQueue.Wish(container: ContainerID(), workspace: workspace, memoryBytes: memoryBytes)
    }

    @Test func someStartAtOnceAndTheOthersInTheirOrder() {
        let queue = Line(atOnce: 2)
        let wishes = (0..<5).map { _ in wish(first) }
        for (number, one) in wishes.enumerated() {
            let actions = queue.arrive(one, availableBytes: nil, now: start)
            #expect(actions == (number < 2 ? [.start(one.container)] : []))
        }
        #expect(queue.runningCount == 2 && queue.waitingCount == 3)
        #expect(queue.place(of: wishes[0].container) == nil, "it does not wait")
        #expect(queue.place(of: wishes[2].container) == StartPlace(position: 1, waiting: 3))
        #expect(queue.place(of: wishes[4].container) == StartPlace(position: 3, waiting: 3))
        #expect(
            queue.leave(wishes[1].container, availableBytes: nil, now: start) == [.start(wishes[2].container)])
        #expect(queue.place(of: wishes[4].container)?.position == 2)
        #expect(
            queue.leave(wishes[3].container, availableBytes: nil, now: start).isEmpty, "it has gone before its turn")
        #expect(
            queue.place(of: wishes[4].container) == StartPlace(position: 1, waiting: 1, expectedSeconds: 1),
            "the one that has ended took no time")
        #expect(
            queue.leave(wishes[0].container, availableBytes: nil, now: start) == [.start(wishes[4].container)])
    }

    /// A workspace that asks for a hundred does not keep another one from its first.
    @Test func workspacesTakeTurns() {
        let queue = Line(atOnce: 1)
        let running = wish(first)
        _ = queue.arrive(running, availableBytes: nil, now: start)
        let many = (0..<100).map { _ in wish(first) }
        for one in many { _ = queue.arrive(one, availableBytes: nil, now: start) }
        let few = (0..<2).map { _ in wish(second) }
        for one in few { _ = queue.arrive(one, availableBytes: nil, now: start) }
        #expect(queue.place(of: few[0].container)?.position == 2)
        #expect(queue.place(of: few[1].container)?.position == 4)
        #expect(queue.place(of: many[1].container)?.position == 3)
        #expect(queue.place(of: many[99].container)?.position == 102)
        var order: [ContainerID] = []
        var last = running.container
        for _ in 0..<4 {
            guard case .start(let next)? = queue.leave(last, availableBytes: nil, now: start).first else { break }
            order.append(next)
            last = next
        }
        #expect(order == [many[0], few[0], many[1], few[1]].map(\.container))
    }

    @Test func theFirstWaitsForMemoryAndNobodyPassesIt() {
        let queue = Line(atOnce: 8)
        let large = wish(first, memoryBytes: 512 * mebibyte)
        let small = wish(second, memoryBytes: 16 * mebibyte)
        #expect(queue.arrive(large, availableBytes: 500 * mebibyte, now: start).isEmpty)
        #expect(queue.arrive(small, availableBytes: 500 * mebibyte, now: start).isEmpty)
        #expect(queue.place(of: large.container) == StartPlace(position: 1, waiting: 2, lacksMemory: true))
        #expect(queue.look(availableBytes: 511 * mebibyte, now: start).isEmpty)
        // What the first will take is not given to the second.
        #expect(queue.look(availableBytes: 520 * mebibyte, now: start) == [.start(large.container)])
        #expect(queue.look(availableBytes: 528 * mebibyte, now: start) == [.start(small.container)])
        let other = wish(first, memoryBytes: 512 * mebibyte)
        #expect(
            queue.arrive(other, availableBytes: nil, now: start) == [.start(other.container)],
            "a kernel that does not tell holds up nobody")
    }

    @Test func whoseTurnDoesNotComeInTimeIsRefusedWithTheReason() {
        let queue = Line(atOnce: 1, longestWait: .seconds(10))
        let (running, late, later) = (wish(first), wish(first), wish(second))
        _ = queue.arrive(running, availableBytes: nil, now: start)
        _ = queue.arrive(late, availableBytes: nil, now: start)
        _ = queue.arrive(later, availableBytes: nil, now: start + .seconds(5))
        #expect(queue.look(availableBytes: nil, now: start + .milliseconds(9999)).isEmpty)
        guard
            case .refuse(late.container, let error)? = queue.look(availableBytes: nil, now: start + .seconds(10)).first
        else {
            Issue.record("it was not refused")
            return
        }
        #expect(error.code == .unavailable && error.retryAfterSeconds == Limits.startRetrySeconds)
        #expect(queue.place(of: later.container) == StartPlace(position: 1, waiting: 1))
        #expect(queue.leave(late.container, availableBytes: nil, now: start).isEmpty, "it is no more")

        let poor = Line(atOnce: 1, longestWait: .seconds(10))
        let hungry = wish(first, memoryBytes: 512 * mebibyte)
        _ = poor.arrive(hungry, availableBytes: mebibyte, now: start)
        guard case .refuse(_, let why)? = poor.look(availableBytes: mebibyte, now: start + .seconds(10)).first else {
            Issue.record("it was not refused")
            return
        }
        #expect(why.message.contains("512 MiB must be available"), "\(why)")
    }

    @Test func soManyBeginInAMinuteAndTheWaitIsTold() {
        // Ten may begin at once, and then one a second.
        let queue = Line(atOnce: 100, perMinute: 60)
        let wishes = (0..<15).map { _ in wish(first) }
        var begun: [ContainerID] = []
        func take(_ actions: [StartQueue.Action]) {
            for case .start(let id) in actions { begun.append(id) }
        }
        for one in wishes { take(queue.arrive(one, availableBytes: nil, now: start)) }
        #expect(begun == wishes.prefix(10).map(\.container))
        #expect(
            queue.place(of: wishes[10].container, now: start)
                == StartPlace(position: 1, waiting: 5, expectedSeconds: 1))
        let last = queue.place(of: wishes[14].container, now: start + .milliseconds(500))
        #expect(last?.position == 5 && last?.expectedSeconds == 5)
        #expect(last?.text.contains("number 5 of 5. Its turn comes in about 5 s.") == true)
        take(queue.leave(wishes[0].container, availableBytes: nil, now: start + .milliseconds(999)))
        #expect(begun.count == 10, "an end makes room, and no earlier turn")
        take(queue.look(availableBytes: nil, now: start + .seconds(1)))
        #expect(begun.count == 11)
        take(queue.look(availableBytes: nil, now: start + .milliseconds(3999)))
        #expect(begun.count == 13)
        take(queue.look(availableBytes: nil, now: start + .seconds(5)))
        #expect(begun == wishes.map(\.container))
    }

    @Test func theWaitGoesByHowLongStartsTakeLately() {
        let queue = Line(atOnce: 2)
        let wishes = (0..<6).map { _ in wish(first) }
        for one in wishes { _ = queue.arrive(one, availableBytes: nil, now: start) }
        #expect(queue.place(of: wishes[2].container, now: start)?.expectedSeconds == nil, "none has ended yet")
        _ = queue.leave(wishes[0].container, availableBytes: nil, now: start + .seconds(8))
        // Two at a time of 8 s each: one ends every 4 s.
        #expect(queue.place(of: wishes[3].container, now: start + .seconds(8))?.expectedSeconds == 4)
        #expect(queue.place(of: wishes[5].container, now: start + .seconds(8))?.expectedSeconds == 12)
        _ = queue.leave(wishes[1].container, availableBytes: nil, now: start + .seconds(16))
        #expect(queue.place(of: wishes[4].container, now: start + .seconds(16))?.expectedSeconds == 5, "9 s by now")
    }

    @Test func aLineHasAnEnd() {
        let queue = Line(atOnce: 1, waitingMost: 2)
        for _ in 0..<3 { _ = queue.arrive(wish(first), availableBytes: nil, now: start) }
        let one = wish(second)
        guard case .refuse(one.container, let error)? = queue.arrive(one, availableBytes: nil, now: start).first else {
            Issue.record("it was let in")
            return
        }
        #expect(error.code == .unavailable && error.retryAfterSeconds != nil)
        #expect(queue.waitingCount == 2 && queue.place(of: one.container) == nil)
    }

    /// Whatever happens: never too many, everybody gets exactly one answer, and places are those in which turns then come.
    @Test(arguments: seeds()) func everybodyIsAnsweredOnce(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let queue = Line(atOnce: 3, waitingMost: 20, longestWait: .seconds(30))
        let workspaces = (0..<4).map { _ in WorkspaceID() }
        var now = start
        var (waiting, running): (Set<ContainerID>, Set<ContainerID>) = ([], [])
        var answered: Set<ContainerID> = []
        func take(_ actions: [StartQueue.Action]) {
            for action in actions {
                switch action {
                case .start(let id):
                    #expect(waiting.remove(id) != nil && answered.insert(id).inserted)
                    running.insert(id)
                case .refuse(let id, _): #expect(waiting.remove(id) != nil && answered.insert(id).inserted)
                }
            }
        }
        for _ in 0..<3000 {
            let available = Bool.random(using: &generator) ? nil : Int.random(in: 0...400, using: &generator)
            now += .milliseconds(Int.random(in: 0...2000, using: &generator))
            switch Int.random(in: 0..<5, using: &generator) {
            case 0, 1:
                let one = StartQueue.Wish(
                    container: ContainerID(), workspace: workspaces.randomElement(using: &generator) ?? workspaces[0],
                    memoryBytes: Int.random(in: 0...100, using: &generator))
                waiting.insert(one.container)
                take(queue.arrive(one, availableBytes: available, now: now))
            case 2:
                guard let one = running.randomElement(using: &generator) else { continue }
                running.remove(one)
                take(queue.leave(one, availableBytes: available, now: now))
            case 3:
                guard let one = waiting.randomElement(using: &generator) else { continue }
                waiting.remove(one)
                take(queue.leave(one, availableBytes: available, now: now))
            default: take(queue.look(availableBytes: available, now: now))
            }
            #expect(running.count <= 3 && queue.runningCount == running.count)
            #expect(waiting.count <= 20 && queue.waitingCount == waiting.count)
            let places = waiting.compactMap { queue.place(of: $0)?.position }.sorted()
            #expect(places == Array(1..<(waiting.count + 1)))
        }
        // From here on nobody comes: turns come in the order that the places told.
        let expected = waiting.sorted { (queue.place(of: $0)?.position ?? 0) < (queue.place(of: $1)?.position ?? 0) }
        var order: [ContainerID] = []
        for action in queue.look(availableBytes: nil, now: now) {
            if case .start(let id) = action { order.append(id) }
        }
        running.formUnion(order)
        while let one = running.popFirst() {
            for action in queue.leave(one, availableBytes: nil, now: now) {
                guard case .start(let id) = action else { continue }
                order.append(id)
                running.insert(id)
            }
        }
        #expect(order == expected.filter { order.contains($0) } && queue.waitingCount == 0)
    }
}
