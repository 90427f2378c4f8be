import FastableCore
import NodeSandbox
import Testing

/// Every state that can be reached, with every event in it.
@Suite struct SandboxStateMachineTests {
    typealias Machine = SandboxStateMachine

    static let start = ContinuousClock.now
    static let first = ContainerID()
    static let second = ContainerID()

    /// An event, by name so that a failure tells which.
    struct Event: Sendable {
        let name: String
        let apply: @Sendable (inout Machine) -> Void
    }

    static let events: [Event] = {
        var events = [
            Event(name: "stop") { _ = $0.stop(reason: "asked", now: start) },
            Event(name: "delete") { _ = $0.delete(now: start) },
            Event(name: "suspend") { _ = $0.suspend(reason: "idle", now: start) },
            Event(name: "wake") { _ = $0.wake(now: start) },
            Event(name: "deleted") { $0.deleted() },
            Event(name: "deletionFailed") { $0.deletionFailed(reason: "disk") },
            Event(name: "found stopped") { $0.found(stopped: "restart") },
            Event(name: "found failed") { $0.found(failed: "before") },
            Event(name: "deadline") { machine in _ = machine.deadlinePassed(now: machine.deadline ?? start) },
            Event(name: "too early") { machine in _ = machine.deadlinePassed(now: start - .seconds(1)) },
        ]
        for (label, id) in [("first", first), ("second", second)] {
            events += [
                Event(name: "ensure \(label)") { _ = $0.ensure(new: id, now: start) },
                Event(name: "pulling \(label)") { $0.pulling(id, now: start) },
                Event(name: "pulled \(label)") { $0.pulled(id, now: start) },
                Event(name: "admitted \(label)") { $0.admitted(id, now: start) },
                Event(name: "givenUp \(label)") { $0.givenUp(id, reason: "gone") },
                Event(name: "started \(label)") { _ = $0.started(id) },
                Event(name: "startFailed \(label)") { $0.startFailed(id, reason: "runtime") },
                Event(name: "adopted \(label)") { $0.adopted(id) },
                Event(name: "adopted frozen \(label)") { $0.adopted(id, suspended: "before") },
                Event(name: "frozen \(label)") { _ = $0.frozen(id) },
                Event(name: "freezeFailed \(label)") { _ = $0.freezeFailed(id, now: start) },
                Event(name: "resumed \(label)") { _ = $0.resumed(id) },
                Event(name: "resumeFailed \(label)") { _ = $0.resumeFailed(id, reason: "deaf", now: start) },
                Event(name: "exited \(label)") { _ = $0.exited(id, reason: "ended", now: start) },
                Event(name: "removed \(label)") { $0.removed(id) },
                Event(name: "removalFailed \(label)") { $0.removalFailed(id, reason: "busy") },
            ]
        }
        return events
    }()

    private static let longest = Duration.seconds(Limits.imageAddSeconds + 3600)

    /// All reachable states. Deadlines move on, so they are cut off after a few rounds of deadlines on deadlines.
    static let reachable: [Machine] = {
        var found = [Machine()]
        var index = 0
        while index < found.count, found.count < 20_000 {
            for event in events {
                var machine = found[index]
                event.apply(&machine)
                if !found.contains(machine), (machine.deadline ?? start) < start + longest {
                    found.append(machine)
                }
            }
            index += 1
        }
        return found
    }()

    @Test func theWorldIsFiniteAndHasEveryState() {
        #expect(Self.reachable.count > 15)
        #expect(Self.reachable.count < 20_000)
        let names = Set(Self.reachable.map { "\($0.state)".prefix { $0 != "(" } })
        #expect(
            names == [
                "absent", "creating", "running", "suspending", "suspended", "resuming", "stopping", "stopped",
                "deleting", "failed",
            ])
    }

    @Test func everyTransitionalStateHasADeadlineThatEndsIt() {
        for machine in Self.reachable {
            switch machine.state {
            case .absent, .running, .suspended, .stopped, .failed: #expect(machine.deadline == nil)
            case .creating, .suspending, .resuming, .stopping, .deleting:
                guard let deadline = machine.deadline else {
                    Issue.record("no deadline in \(machine.state)")
                    continue
                }
                var early = machine
                #expect(early.deadlinePassed(now: deadline - .nanoseconds(1)) == .nothing)
                #expect(early == machine)
                var late = machine
                _ = late.deadlinePassed(now: deadline)
                #expect(late.state != machine.state)
                // Three deadlines lead from anything to rest: a suspension that hangs is undone, and what cannot be woken is ended.
                for _ in 0..<2 { if let next = late.deadline { _ = late.deadlinePassed(now: next) } }
                #expect(late.deadline == nil, "\(machine.state) does not come to rest")
            }
        }
    }

    @Test func aContainerCanBeHadAgainFromEverywhere() {
        for machine in Self.reachable {
            var machine = machine
            for _ in 0..<4 { if let deadline = machine.deadline { _ = machine.deadlinePassed(now: deadline) } }
            let id = ContainerID()
            switch machine.ensure(new: id, now: Self.start) {
            case .start(let started):
                #expect(started == id)
                #expect(machine.started(id) == .serve)
                #expect(machine.state == .running(id))
            case .use(let used): #expect(machine.state == .running(used))
            case .wake(.resume(let woken)):
                #expect(machine.resumed(woken) == true)
                #expect(machine.state == .running(woken))
            case .wake: Issue.record("\(machine.state) is not woken")
            case .join, .waitForEnd, .refuse: Issue.record("\(machine.state) gives no container")
            }
        }
    }

    @Test func whatIsToldOfAnotherIncarnationChangesNothing() {
        let stranger = ContainerID()
        for machine in Self.reachable {
            var after = machine
            after.pulling(stranger, now: Self.start)
            after.pulled(stranger, now: Self.start)
            after.admitted(stranger, now: Self.start)
            after.givenUp(stranger, reason: "x")
            #expect(after.started(stranger) == .discard)
            after.startFailed(stranger, reason: "x")
            #expect(after.exited(stranger, reason: "x", now: Self.start) == nil)
            #expect(after.frozen(stranger) == false)
            #expect(after.freezeFailed(stranger, now: Self.start) == false)
            #expect(after.resumed(stranger) == false)
            #expect(after.resumeFailed(stranger, reason: "x", now: Self.start) == nil)
            after.removed(stranger)
            after.removalFailed(stranger, reason: "x")
            #expect(after == machine)
        }
    }

    /// Waiting for its turn takes nothing of the time for its start.
    @Test func theTimeOfAStartBeginsWithItsTurn() {
        for machine in Self.reachable {
            guard case .creating(let id, let deadline, _) = machine.state else { continue }
            var admitted = machine
            let later = deadline - .milliseconds(1)
            admitted.admitted(id, now: later)
            #expect(admitted.deadline == later + .seconds(Limits.containerStartSeconds))
            #expect(admitted.started(id) == .serve)
            var given = machine
            given.givenUp(id, reason: "gone")
            #expect(given.state == .stopped(reason: "gone"))
            given.startFailed(id, reason: "late")
            #expect(given.started(id) == .discard)
            #expect(given.state == .stopped(reason: "gone"))
        }
        var machine = Machine()
        _ = machine.ensure(new: Self.first, now: Self.start)
        let longest = Duration.seconds(Limits.startQueueSeconds + Limits.containerStartSeconds)
        #expect(machine.deadline == Self.start + longest, "also when nobody tells that it is its turn")
    }

    /// Its image may take long to come; then everything is as if it had been there.
    @Test func theImageComesFirst() {
        var machine = Machine()
        #expect(machine.ensure(new: Self.first, now: Self.start) == .start(Self.first))
        machine.pulled(Self.first, now: Self.start + .seconds(1))
        let waits = Duration.seconds(Limits.startQueueSeconds + Limits.containerStartSeconds)
        #expect(machine.deadline == Self.start + waits, "nothing was pulled")
        machine.pulling(Self.first, now: Self.start)
        #expect(machine.ensure(new: Self.second, now: Self.start) == .join(Self.first))
        let longest = Duration.seconds(Limits.imageAddSeconds)
        #expect(machine.deadline.map { $0 > Self.start + longest } == true, "the pull ends first, and says why")
        let late = Self.start + longest
        var hung = machine
        #expect(hung.deadlinePassed(now: late) == .nothing)
        #expect(hung.deadlinePassed(now: hung.deadline ?? late) == .cancelStart(Self.first))
        hung.startFailed(Self.first, reason: "cancelled")
        guard case .failed(let reason) = hung.state else { return #expect(Bool(false), "\(hung.state)") }
        #expect(reason.contains("image did not come"))
        machine.pulled(Self.first, now: late)
        #expect(machine.deadline == late + waits)
        machine.admitted(Self.first, now: late)
        #expect(machine.started(Self.first) == .serve)
        machine.pulling(Self.first, now: late)
        #expect(machine.state == .running(Self.first))
    }

    @Test func deletionWinsOverEverythingAndIsSaidNoTo() {
        for machine in Self.reachable {
            var machine = machine
            let before = machine.container
            let action = machine.delete(now: Self.start)
            switch action {
            case .join: #expect(before == nil)
            case .remove(let id): #expect(id == before)
            case .cancelStartThenRemove(let id): #expect(id == before)
            }
            guard case .refuse(let error) = machine.ensure(new: ContainerID(), now: Self.start) else {
                Issue.record("a container was given while \(machine.state)")
                continue
            }
            #expect(error.code == .conflict)
            #expect(machine.started(Self.first) == .discard)
            #expect(machine.frozen(Self.first) == false)
            #expect(machine.resumed(Self.first) == false)
            machine.deleted()
            #expect(machine == Machine())
        }
    }

    @Test func aStartThatIsCutShortEndsAsWhatCutIt() {
        var machine = Machine()
        #expect(machine.ensure(new: Self.first, now: Self.start) == .start(Self.first))
        #expect(machine.ensure(new: Self.second, now: Self.start) == .join(Self.first))
        #expect(machine.stop(reason: "node goes down", now: Self.start) == .cancelStart(Self.first))
        #expect(machine.ensure(new: Self.second, now: Self.start) == .waitForEnd)
        machine.startFailed(Self.first, reason: "cancelled")
        #expect(machine.state == .stopped(reason: "node goes down"))

        #expect(machine.ensure(new: Self.second, now: Self.start) == .start(Self.second))
        let deadline = machine.deadline ?? Self.start
        #expect(machine.deadlinePassed(now: deadline) == .cancelStart(Self.second))
        machine.startFailed(Self.second, reason: "cancelled")
        guard case .failed(let reason) = machine.state else {
            Issue.record("not failed: \(machine.state)")
            return
        }
        #expect(reason.contains("did not start within"))
    }
}
