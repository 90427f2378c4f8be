import FastableCore
import Testing

@Suite struct OnceAttemptsTests {
    private let start = ContinuousClock.now
    private let lost = FastableError(.unavailable, "Lost.", details: ["isAnswerLost": true])
    private let away = FastableError(.unavailable, "Nobody answers.")

    @Test func whatHasCertainlyNotBegunIsToldAtOnce() {
        var attempts = OnceAttempts()
        #expect(attempts.pause(after: away, now: start) == nil)
        for code in [FastableError.Code.conflict, .notFound, .timeout, .limit] {
            #expect(attempts.pause(after: FastableError(code, "No."), now: start) == nil)
        }
    }

    @Test func whatMayHaveBegunIsAskedForOverARestart() {
        var attempts = OnceAttempts()
        var now = start
        #expect(attempts.pause(after: lost, now: now) != nil)
        while let pause = attempts.pause(after: away, now: now) { now += pause }
        #expect(now - start >= Reattachment.patience && now - start < Reattachment.patience + .seconds(3))
        var others = OnceAttempts()
        #expect(others.pause(after: FastableError(.unavailable, "?", details: ["execId": "exe_1"]), now: start) != nil)
        #expect(others.pause(after: FastableError(.conflict, "No."), now: start) == nil)
    }

    @Test func whatWasSwitchedOffIsNotWaitedFor() {
        var attempts = OnceAttempts()
        let off = FastableError(.unavailable, "Off.", details: ["killSwitch": "ksw_1", "execId": "exe_1"])
        #expect(attempts.pause(after: off, now: start) == nil)
    }
}
