import NodeSandbox
import TestSupport
import Testing

@Suite struct StartRateTests {
    private let start = ContinuousClock.now

    @Test func someAtOnceAndThenEvenly() {
        var rate = StartRate(perMinute: 120, burstSeconds: 2)
        for _ in 0..<4 {
            #expect(rate.wait(for: 1, now: start) == .zero)
            rate.take(now: start)
        }
        #expect(rate.wait(for: 1, now: start) == .milliseconds(500))
        #expect(rate.wait(for: 3, now: start) == .milliseconds(1500))
        #expect(rate.wait(for: 1, now: start + .milliseconds(499)) == .milliseconds(1))
        #expect(rate.wait(for: 1, now: start + .milliseconds(500)) == .zero)
        // After a quiet while as many as in the beginning, and no more.
        let later = start + .seconds(3600)
        #expect(rate.wait(for: 4, now: later) == .zero)
        #expect(rate.wait(for: 5, now: later) == .milliseconds(500))
    }

    @Test func theSlowestHasOneAtATime() {
        var rate = StartRate(perMinute: 1, burstSeconds: 10)
        rate.take(now: start)
        #expect(rate.wait(for: 1, now: start) == .seconds(60))
        var none = StartRate(perMinute: 0)
        none.take(now: start)
        #expect(none.wait(for: 1, now: start) == .seconds(60), "it never stands still for ever")
    }

    /// Whenever somebody asks: in no stretch of time more begin than the pace and what may begin at once, and who waits as long as it is
    /// told may begin.
    @Test(arguments: seeds()) func noStretchHasMore(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let (perMinute, burstSeconds) = (generator.int(1...1000), generator.int(1...20))
        let most = max(1, perMinute * burstSeconds / 60)
        var rate = StartRate(perMinute: perMinute, burstSeconds: burstSeconds)
        var now = start
        var begun: [ContinuousClock.Instant] = []
        for _ in 0..<1000 {
            now += .milliseconds(generator.int(0...(generator.chance(5) ? 60_000 : 120)))
            let wait = rate.wait(for: 1, now: now)
            if generator.chance(20) { now += wait }
            guard rate.wait(for: 1, now: now) == .zero else { continue }
            rate.take(now: now)
            begun.append(now)
        }
        for first in begun.indices {
            for last in first..<begun.count {
                let seconds = (begun[last] - begun[first]) / .seconds(1)
                #expect(Double(last - first + 1) <= Double(most) + seconds * Double(perMinute) / 60 + 0.001)
            }
        }
    }
}
