import ControllerServices
import FastableCore
import TestSupport
import Testing

@Suite struct RenewalLimitTests {
    private let most = Limits.certificateRenewalsPerHour

    @Test func anHourLaterItMayAgain() {
        var limit = RenewalLimit()
        let node = NodeID()
        let start = ContinuousClock.now
        for number in 0..<most { #expect(limit.take(node, now: start + .seconds(number)) == nil) }
        #expect(limit.take(node, now: start + .seconds(100)) == .seconds(3500))
        #expect(limit.take(NodeID(), now: start + .seconds(100)) == nil)
        #expect(limit.take(node, now: start + .seconds(3599)) == .seconds(1))
        // Refusals do not count: the first one has left the hour, so one is free.
        #expect(limit.take(node, now: start + .seconds(3600)) == nil)
        #expect(limit.take(node, now: start + .seconds(3600)) == .seconds(1))
    }

    @Test(arguments: seeds(50)) func inNoHourAreThereMore(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var limit = RenewalLimit()
        let node = NodeID()
        var now = ContinuousClock.now
        var granted: [ContinuousClock.Instant] = []
        for _ in 0..<300 {
            now += .seconds(random.int(0...1200))
            if let wait = limit.take(node, now: now) {
                #expect(wait > .zero && wait <= .seconds(3600), "seed \(seed)")
            } else {
                granted.append(now)
            }
        }
        for (index, first) in granted.enumerated() {
            #expect(granted[index...].prefix { $0 - first < .seconds(3600) }.count <= most, "seed \(seed)")
        }
    }
}
