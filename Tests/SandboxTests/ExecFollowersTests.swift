import FastableCore
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// What a command's output waits for.
@Suite("Followers of an exec")
struct ExecFollowersTests {
    typealias Place = ExecFollowers.Place
    private let start = ContinuousClock.now

    private func followers(_ overflow: ExecOverflow = .slow) -> ExecFollowers {
        ExecFollowers(overflow: overflow, slackBytes: 10, grace: .seconds(60))
    }

    @Test func aReaderNeedsWhatMayBeOnItsWay() {
        let followers = followers()
        #expect(followers.needed(1, slowest: nil) == nil)
        #expect(followers.needed(1, slowest: 100) == 90)
        #expect(followers.needed(1, slowest: 4) == 0)
    }

    @Test func oneThatVanishedIsWaitedForUntilItsTimeIsOver() {
        var followers = followers()
        followers.vanished(at: Place(stdout: 100, stderr: 7), now: start)
        #expect(followers.needed(1, slowest: nil) == 90 && followers.needed(2, slowest: nil) == 0)
        #expect(followers.needed(1, slowest: 95) == 85 && followers.needed(1, slowest: 200) == 90)
        #expect(followers.nextChange == start + .seconds(60))
        followers.expire(now: start + .milliseconds(59_999))
        #expect(followers.needed(1, slowest: nil) == 90)
        followers.expire(now: start + .seconds(60))
        #expect(followers.needed(1, slowest: nil) == nil && followers.nextChange == nil)
    }

    @Test func oneThatComesBackIsNotWaitedForTwice() {
        for offset: UInt64 in [90, 95, 100] {
            var followers = followers()
            followers.vanished(at: Place(stdout: 100, stderr: 0), now: start)
            followers.began(at: Place(stdout: offset, stderr: 0))
            #expect(followers.absentCount == 0, "\(offset)")
        }
    }

    @Test func anotherOneDoesNotTakeItsPlace() {
        for place in [
            Place(stdout: 89, stderr: 50), Place(stdout: 101, stderr: 50), Place(stdout: 100, stderr: 0),
            Place(stdout: 100, stderr: nil), Place(stdout: nil, stderr: 50),
        ] {
            var followers = followers()
            followers.vanished(at: Place(stdout: 100, stderr: 50), now: start)
            followers.began(at: place)
            #expect(followers.needed(1, slowest: nil) == 90, "\(place)")
        }
        var followers = followers()
        followers.vanished(at: Place(stdout: 100, stderr: nil), now: start)
        #expect(followers.needed(2, slowest: nil) == nil, "it did not follow that stream")
        followers.began(at: Place(stdout: 98, stderr: nil))
        #expect(followers.absentCount == 0)
    }

    @Test func whoCouldBeOneOfSeveralTakesNothingFromTheOthers() {
        var followers = followers()
        followers.vanished(at: Place(stdout: 100, stderr: 58), now: start)
        followers.vanished(at: Place(stdout: 105, stderr: 50), now: start + .seconds(1))
        followers.vanished(at: Place(stdout: 300, stderr: 300), now: start)
        followers.began(at: Place(stdout: 97, stderr: 50))
        #expect(followers.absentCount == 2)
        #expect(followers.needed(1, slowest: nil) == 90 && followers.needed(2, slowest: nil) == 40)
        followers.expire(now: start + .seconds(60))
        #expect(followers.absentCount == 1, "it may be the one that vanished later")
        followers.began(at: Place(stdout: 104, stderr: 57))
        #expect(followers.absentCount == 0)
    }

    @Test func aNameTellsWhoComesBack() {
        var followers = followers()
        followers.vanished(at: Place(stdout: 100, stderr: 0), name: "a", now: start)
        followers.vanished(at: Place(stdout: 103, stderr: 0), name: "b", now: start)
        followers.vanished(at: Place(stdout: 104, stderr: 0), now: start)
        followers.began(at: Place(stdout: 100, stderr: 0), name: "c")
        #expect(followers.absentCount == 3)
        // Wherever it goes on.
        followers.began(at: Place(stdout: 0, stderr: nil), name: "a")
        #expect(followers.needed(1, slowest: nil) == 93)
        followers.began(at: Place(stdout: 100, stderr: 0))
        #expect(followers.needed(1, slowest: nil) == 93 && followers.absentCount == 1, "b will come under its name")
        followers.vanished(at: Place(stdout: 200, stderr: 0), name: "b", now: start)
        #expect(followers.needed(1, slowest: nil) == 190 && followers.absentCount == 1)
    }

    @Test func whoseOldConnectionIsStillThereTakesNobodysPlace() {
        var followers = followers()
        followers.started(now: start)
        followers.began(at: Place(stdout: 0, stderr: 0), name: "a", isKnown: true)
        #expect(followers.absentCount == 1)
        // One that follows one stream only may be the one for whom the exec was started.
        followers.began(at: Place(stdout: 0, stderr: nil), name: "b")
        #expect(followers.absentCount == 0)
    }

    @Test func afterARestartAllThatIsKeptIsNeeded() {
        var followers = followers()
        followers.recovered(
            2, floor: Place(stdout: 1000, stderr: 0), head: Place(stdout: 2000, stderr: 0), now: start)
        #expect(followers.needed(1, slowest: nil) == 1000)
        followers.began(at: Place(stdout: 1990, stderr: 0))
        #expect(followers.needed(1, slowest: 1990) == 1000, "there was another one")
        // One that is ahead of what was stored.
        followers.began(at: Place(stdout: 2000 + UInt64(Limits.initRingBytes), stderr: 0))
        #expect(followers.needed(1, slowest: 1990) == 1980)
        followers.recovered(0, floor: Place(stdout: 5, stderr: 0), head: Place(stdout: 9, stderr: 0), now: start)
        #expect(followers.absentCount == 1, "somebody may have begun to follow at the last moment")
    }

    @Test func dropWaitsForNobody() {
        var followers = followers(.drop)
        followers.vanished(at: Place(stdout: 100, stderr: 0), now: start)
        followers.recovered(3, floor: Place(stdout: 1, stderr: 0), head: Place(stdout: 2, stderr: 0), now: start)
        #expect(followers.needed(1, slowest: 50) == nil && followers.nextChange == nil)
    }

    @Test func theNoteTellsTheNextDaemon() {
        var slow = followers()
        slow.vanished(at: Place(stdout: 100, stderr: 0), now: start)
        let note = ExecFollowers.read(note: slow.note(present: 2))
        #expect(note.overflow == .slow && note.count == 3)
        #expect(ExecFollowers.read(note: followers(.drop).note(present: 2)).overflow == .drop)
        #expect(ExecFollowers.read(note: 0).overflow == .slow)
    }

    @Test func howManyAreWaitedForIsBounded() {
        var followers = followers()
        for offset in 0..<1000 {
            followers.vanished(at: Place(stdout: UInt64(1000 - offset), stderr: 0), now: start)
        }
        #expect(followers.absentCount == Limits.execReadersAwaited)
        #expect(followers.needed(1, slowest: nil) == 0, "those that need most stay")
    }
}

/// An exec with everything around it at random: readers that vanish with bytes on their way, daemons that are killed, and time.
@Suite("Following an exec")
struct ExecStateTests {
    private static let kept = 4000
    private static let slack = 1000

    /// One follower as it sees itself.
    private struct Follower {
        var name: String?
        var received: UInt64 = 0
        /// Its number at the node, while it is connected.
        var number: Int?
        /// Handed out by the node and not arrived yet: at most the slack.
        var onItsWay: UInt64 = 0
        var awaySince: ExecFollowers.Instant?
    }

    @Test(arguments: 0..<32) func nobodyWhoComesBackInTimeLosesAByte(round: Int) throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        var now = ContinuousClock.now
        var printed: UInt64 = 0
        var acknowledged: UInt64 = 0
        var note: UInt32 = 0
        var followers = (0..<random.int(1...3)).map { Follower(name: random.chance(50) ? "\($0)" : nil) }
        var beginning = ExecFollowers(overflow: .slow, slackBytes: Self.slack)
        // Nobody is lost before it has come for the first time.
        for _ in followers { beginning.started(now: now) }
        for index in followers.indices { followers[index].awaySince = now }
        var state = Self.state(ExecLog(capacity: Self.kept), beginning, note: 0)
        for _ in 0..<3000 {
            switch random.int(0...19) {
            case 0...7:
                // Init's ring.
                let end = min(printed + UInt64(random.int(1...300)), acknowledged + 500)
                guard end > printed else { break }
                try state[1].receive(ByteBuffer(repeating: 1, count: Int(end - printed)), at: printed)
                printed = end
            case 8...15:
                let index = random.int(0...followers.count - 1)
                Self.read(&state, &followers[index], seed)
            case 16:
                let index = random.int(0...followers.count - 1)
                guard let number = followers[index].number else { break }
                _ = state.removeReader(number, now: now)
                followers[index].number = nil
                followers[index].awaySince = now
            case 17, 18:
                let index = random.int(0...followers.count - 1)
                if random.chance(20), followers[index].name != nil, let old = followers[index].number {
                    // It comes back before its old connection is noticed to be gone.
                    followers[index].number = nil
                    Self.comeBack(&state, &followers[index])
                    _ = state.removeReader(old, now: now)
                } else {
                    Self.comeBack(&state, &followers[index])
                }
            default:
                guard random.chance(10) else { break }
                // The daemon is killed: what it had not acknowledged comes again.
                let log = ExecLog(capacity: Self.kept, stored: state[1].written)
                var after = ExecFollowers(overflow: .slow, slackBytes: Self.slack)
                after.recovered(
                    max(followers.count, ExecFollowers.read(note: note).count),
                    floor: .init(stdout: log.floor, stderr: 0), head: .init(stdout: log.head, stderr: 0), now: now)
                for index in followers.indices where followers[index].number != nil {
                    followers[index].number = nil
                    followers[index].awaySince = now
                }
                state = Self.state(log, after, note: note)
                printed = log.received
                acknowledged = log.received
            }
            let admission = state.admit(1, now: now)
            note = admission.note ?? note
            state[1].wrote(keepRecent: 0)
            if let offset = state[1].acknowledgement(step: 100) { acknowledged = offset }
            // Time passes, but not so much that somebody is given up who will come back.
            let first = followers.compactMap(\.awaySince).min()
            if first.map({ now - $0 < .seconds(50) }) ?? true {
                now += .milliseconds(random.int(0...500))
            } else {
                for index in followers.indices where followers[index].number == nil {
                    Self.comeBack(&state, &followers[index])
                }
            }
        }
        #expect(printed > UInt64(2 * Self.kept), "seed \(seed): the command must go on")
    }

    private static func state(_ log: ExecLog, _ followers: ExecFollowers, note: UInt32) -> ExecState {
        ExecState(
            container: ContainerID(), stdout: log, stderr: ExecLog(capacity: kept), input: ExecInput(isOpen: false),
            followers: followers, note: note)
    }

    private static func comeBack(_ state: inout ExecState, _ follower: inout Follower) {
        guard follower.number == nil else { return }
        follower.onItsWay = 0
        follower.awaySince = nil
        follower.number =
            state.addReader(
                stdoutFrom: follower.received, stderrFrom: 0, name: follower.name, followsInput: false
            ).number
    }

    private static func read(_ state: inout ExecState, _ follower: inout Follower, _ seed: UInt64) {
        guard let number = follower.number else { return }
        // What was handed out before has arrived by now, or it is on its way.
        let count: UInt64
        switch state.step(number) {
        case .chunk(.data(_, let bytes)): count = UInt64(bytes.readableBytes)
        case .file(let channel, _, let wanted):
            let part = ByteBuffer(repeating: 1, count: min(wanted, slack - 1))
            guard case .data(_, let bytes)? = state.didRead(number, channel: channel, part) else { return }
            count = UInt64(bytes.readableBytes)
        case .chunk(.gap(_, let from, let to)):
            Issue.record("bytes \(from) to \(to) were lost, seed \(seed)")
            follower.received = to
            return
        case .chunk, .wait, .end, .failure: return
        }
        follower.onItsWay += count
        guard follower.onItsWay > UInt64(slack) else { return }
        follower.received += follower.onItsWay - UInt64(slack) / 2
        follower.onItsWay = UInt64(slack) / 2
    }

    @Test func dropNeverHoldsBackAndTellsTheGap() throws {
        var state = Self.state(
            ExecLog(capacity: 1000), ExecFollowers(overflow: .drop, slackBytes: 100), note: 1)
        let reader = state.addReader(stdoutFrom: 0, stderrFrom: 0, followsInput: false).number
        guard case .chunk(.started) = state.step(reader) else { throw Unexpected() }
        try state[1].receive(ByteBuffer(repeating: 1, count: 800), at: 0)
        _ = state.admit(1, now: .now)
        state[1].wrote(keepRecent: 0)
        guard case .file(1, 0, let count) = state.step(reader) else { throw Unexpected() }
        // While the file is read, other bytes take the place of these.
        try state[1].receive(ByteBuffer(repeating: 2, count: 700), at: 800)
        #expect(state.admit(1, now: .now).chunks.count == 1 && !state.isHoldingBack)
        state[1].wrote(keepRecent: 0)
        #expect(state.didRead(reader, channel: 1, ByteBuffer(repeating: 2, count: count)) == nil)
        guard case .chunk(.gap(1, 0, 500)) = state.step(reader) else { throw Unexpected() }
    }

    @Test func aReaderThatOnlyLooksIsNotWaitedFor() throws {
        let now = ContinuousClock.now
        var state = Self.state(ExecLog(capacity: 1000), ExecFollowers(overflow: .slow, slackBytes: 100), note: 0)
        let reader = state.addReader(stdoutFrom: 0, stderrFrom: 0, follows: false, followsInput: false).number
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 0)
        _ = state.admit(1, now: now)
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 900)
        #expect(state.admit(1, now: now).chunks.isEmpty, "while it reads, nothing goes")
        _ = state.removeReader(reader, now: now)
        #expect(state.admit(1, now: now).chunks.count == 1)
    }

    @Test func aReaderOfWhatIsThereWaitsForNothingElseAndHoldsUpNothingElse() throws {
        let now = ContinuousClock.now
        var state = Self.state(ExecLog(capacity: 1000), ExecFollowers(overflow: .slow, slackBytes: 100), note: 0)
        try state[1].receive(ByteBuffer(repeating: 1, count: 400), at: 0)
        _ = state.admit(1, now: now)
        state[1].wrote(keepRecent: 0)
        let reader = state.addReader(
            stdoutFrom: 0, stderrFrom: 0, untilNow: true, follows: false, followsInput: false
        ).number
        try state[1].receive(ByteBuffer(repeating: 1, count: 500), at: 400)
        _ = state.admit(1, now: now)
        state[1].wrote(keepRecent: 0)
        guard case .chunk(.started) = state.step(reader), case .file(1, 0, 400) = state.step(reader) else {
            throw Unexpected()
        }
        _ = state.didRead(reader, channel: 1, ByteBuffer(repeating: 1, count: 400))
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 900)
        #expect(state.admit(1, now: now).chunks.count == 1, "it has what it came for")
        guard case .end = state.step(reader), case .end = state.step(reader) else { throw Unexpected() }
    }

    @Test func theNextConnectionOfAFollowerReplacesItsLast() throws {
        let now = ContinuousClock.now
        var state = Self.state(ExecLog(capacity: 1000), ExecFollowers(overflow: .slow, slackBytes: 100), note: 0)
        let old = state.addReader(stdoutFrom: 0, stderrFrom: 0, name: "a", followsInput: false).number
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 0)
        _ = state.admit(1, now: now)
        let new = state.addReader(stdoutFrom: 900, stderrFrom: 0, name: "a", followsInput: false).number
        guard case .failure(let error) = state.step(old), case .chunk(.started) = state.step(new) else {
            throw Unexpected()
        }
        #expect(error.code == .conflict)
        _ = state.removeReader(old, now: now)
        try state[1].receive(ByteBuffer(repeating: 1, count: 800), at: 900)
        #expect(state.admit(1, now: now).chunks.count == 1, "nobody is waited for")
    }

    @Test func theGraceEndsByItself() throws {
        let now = ContinuousClock.now
        var state = Self.state(ExecLog(capacity: 1000), ExecFollowers(overflow: .slow, slackBytes: 100), note: 0)
        let reader = state.addReader(stdoutFrom: 0, stderrFrom: 0, followsInput: false).number
        _ = state.removeReader(reader, now: now)
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 0)
        #expect(state.admit(1, now: now).tryAgainAt == nil)
        try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: 900)
        let end = now + .seconds(Limits.execReaderGraceSeconds)
        #expect(state.admit(1, now: now).tryAgainAt == end)
        #expect(state.admit(1, now: now + .seconds(1)).tryAgainAt == nil, "one timer is enough")
        #expect(state.admit(1, now: end).chunks.count == 1 && !state.isHoldingBack)
    }

    @Test func oneStreamDoesNotWaitForAReaderOfTheOther() throws {
        var state = Self.state(ExecLog(capacity: 1000), ExecFollowers(overflow: .slow, slackBytes: 100), note: 0)
        let reader = state.addReader(stdoutFrom: 0, stderrFrom: 0, only: 2, followsInput: false).number
        for offset: UInt64 in [0, 900, 1800] {
            try state[1].receive(ByteBuffer(repeating: 1, count: 900), at: offset)
            #expect(state.admit(1, now: .now).chunks.count == 1)
        }
        guard case .chunk(.started) = state.step(reader), case .wait = state.step(reader) else { throw Unexpected() }
    }

    private struct Unexpected: Error {}
}
