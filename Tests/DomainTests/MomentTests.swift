import ControllerDomain
import FoundationEssentials
import Testing

@Suite struct MomentTests {
    @Test func millisecondsSurviveTheWayThroughARow() {
        for milliseconds: Int64 in [0, 1, 999, 1_795_000_000_123, 4_102_444_800_001] {
            #expect(Date(milliseconds: milliseconds).milliseconds == milliseconds)
        }
        #expect(Date.nowMilliseconds.milliseconds > 1_700_000_000_000)
        #expect(Date(milliseconds: Date.nowMilliseconds.milliseconds).timeIntervalSinceNow < 1)
    }

    @Test func absurdMomentsDoNotTrap() {
        #expect(Date.distantFuture.milliseconds > 0)
        #expect(Date(timeIntervalSince1970: .infinity).milliseconds == .max)
        #expect(Date(timeIntervalSince1970: -.infinity).milliseconds == .min)
        #expect(Date(timeIntervalSince1970: .nan).milliseconds == .min)
    }
}
