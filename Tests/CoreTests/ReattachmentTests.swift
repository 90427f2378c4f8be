import FastableCore
import Testing

@Suite struct ReattachmentTests {
    private let start = ContinuousClock.now

    @Test func aLostConnectionIsTriedForAMinuteWithGrowingPauses() {
        var reattachment = Reattachment()
        var now = start
        var pauses: [Duration] = []
        while let pause = reattachment.pause(after: .unavailable, attachedFor: nil, now: now) {
            pauses.append(pause)
            now += pause
        }
        #expect(pauses.first == .milliseconds(50) && pauses == pauses.sorted() && pauses.last == .seconds(2))
        #expect(now - start >= Reattachment.patience && now - start < Reattachment.patience + .seconds(3))
    }

    /// A shell may print nothing for hours, and a command that only reads never prints anything.
    @Test func eachConnectionThatReachedTheCommandBeginsThePatienceAnew() {
        var reattachment = Reattachment()
        var now = start
        for _ in 0..<100 {
            #expect(reattachment.pause(after: .unavailable, attachedFor: .seconds(1), now: now) != nil)
            now += .seconds(20)
            #expect(reattachment.pause(after: .unavailable, attachedFor: nil, now: now) != nil)
            now += .seconds(20)
        }
    }

    @Test func connectionsThatBreakAtOnceAreNotMadeInAHurry() {
        var reattachment = Reattachment()
        let pauses = (0..<20).map { _ in reattachment.pause(after: .unavailable, attachedFor: .zero, now: start) }
        #expect(pauses.last == .seconds(2))
        #expect(reattachment.pause(after: .unavailable, attachedFor: .seconds(10), now: start) == .milliseconds(50))
    }

    @Test func otherErrorsEndIt() {
        for code in FastableError.Code.allCases where code != .unavailable {
            var reattachment = Reattachment()
            #expect(reattachment.pause(after: code, attachedFor: nil, now: start) == nil, "\(code)")
        }
        // The controller may still count the connection that was lost.
        var reattachment = Reattachment()
        #expect(reattachment.pause(after: .limit, attachedFor: .seconds(1), now: start) != nil)
        #expect(reattachment.pause(after: .conflict, attachedFor: .seconds(1), now: start) == nil)
    }

    @Test func onlyClosesThatTellAMistakeEndIt() {
        for code: UInt16? in [nil, 1000, 1001, 1006, 1011, 1012, 1013, 1014, 3000] {
            #expect(Reattachment.failure(closeCode: code, reason: "later").code == .unavailable, "\(code ?? 0)")
        }
        for code: UInt16 in [1002, 1003, 1007, 1008, 1009] {
            let failure = Reattachment.failure(closeCode: code, reason: "No.")
            #expect(failure.code == .invalid && failure.message.contains("close \(code)): No."), "\(code)")
        }
    }
}
