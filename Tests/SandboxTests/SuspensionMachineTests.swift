import FastableCore
import NodeSandbox
import TestSupport
import Testing

/// Standing still and going on, as the machine sees it.
@Suite struct SuspensionMachineTests {
    typealias Machine = SandboxStateMachine

    static let start = ContinuousClock.now
    static let id = ContainerID()

    private static func running() -> Machine {
        var machine = Machine()
        _ = machine.ensure(new: id, now: start)
        _ = machine.started(id)
        return machine
    }

    @Test func downAndUp() {
        var machine = Self.running()
        #expect(machine.suspend(reason: "idle", now: Self.start) == .freeze(Self.id))
        #expect(machine.suspend(reason: "idle", now: Self.start) == .join(Self.id))
        #expect(machine.frozen(Self.id) == true)
        #expect(machine.state == .suspended(Self.id, reason: "idle"))
        #expect(machine.frozen(Self.id) == false, "no news")
        #expect(machine.suspend(reason: "again", now: Self.start) == .nothing)
        #expect(machine.ensure(new: ContainerID(), now: Self.start) == .wake(.resume(Self.id)))
        #expect(machine.ensure(new: ContainerID(), now: Self.start) == .wake(.join(Self.id)))
        guard case .refuse(let error) = machine.suspend(reason: "idle", now: Self.start) else {
            Issue.record("suspended while it is woken")
            return
        }
        #expect(error.code == .conflict)
        #expect(machine.resumed(Self.id) == true)
        #expect(machine.wake(now: Self.start) == .nothing)
        #expect(machine.state == .running(Self.id))
    }

    @Test func aSuspensionThatDoesNotFinishIsUndone() {
        var machine = Self.running()
        _ = machine.suspend(reason: "idle", now: Self.start)
        #expect(machine.deadlinePassed(now: Self.start + .seconds(Limits.containerSuspendSeconds)) == .resume(Self.id))
        #expect(machine.frozen(Self.id) == false, "that came too late")
        #expect(machine.resumed(Self.id) == true)
        #expect(machine.state == .running(Self.id))
    }

    @Test func oneThatIsNeededMeanwhileGoesOn() {
        var machine = Self.running()
        _ = machine.suspend(reason: "idle", now: Self.start)
        #expect(machine.wake(now: Self.start) == .resume(Self.id))
        #expect(machine.frozen(Self.id) == false)
        #expect(machine.freezeFailed(Self.id, now: Self.start) == false)
        #expect(machine.resumed(Self.id) == true)
    }

    @Test func whatCannotBeWokenIsEnded() {
        var deaf = Self.running()
        _ = deaf.suspend(reason: "idle", now: Self.start)
        _ = deaf.frozen(Self.id)
        _ = deaf.wake(now: Self.start)
        var slow = deaf
        #expect(deaf.resumeFailed(Self.id, reason: "deaf", now: Self.start) == Self.id)
        #expect(slow.deadlinePassed(now: Self.start + .seconds(Limits.containerResumeSeconds)) == .end(Self.id))
        for var machine in [deaf, slow] {
            #expect(machine.resumed(Self.id) == false)
            machine.removed(Self.id)
            guard case .failed = machine.state else {
                Issue.record("\(machine.state)")
                continue
            }
            // And it can be had again.
            let next = ContainerID()
            #expect(machine.ensure(new: next, now: Self.start) == .start(next))
        }
    }

    @Test func anEndInAnyOfTheseStatesIsSeen() {
        var machines = [Self.running()]
        for step in 0..<3 {
            var machine = machines[step]
            switch step {
            case 0: _ = machine.suspend(reason: "idle", now: Self.start)
            case 1: _ = machine.frozen(Self.id)
            default: _ = machine.wake(now: Self.start)
            }
            machines.append(machine)
        }
        for machine in machines {
            var ended = machine
            #expect(ended.exited(Self.id, reason: "killed", now: Self.start) == Self.id)
            ended.removed(Self.id)
            #expect(ended.state == .stopped(reason: "killed"))
            var stopped = machine
            #expect(stopped.stop(reason: "asked", now: Self.start) == .stop(Self.id))
            var deleted = machine
            #expect(deleted.delete(now: Self.start) == .remove(Self.id))
        }
    }

    /// Random events in random order: it never has two incarnations, always a way to rest, and tells the truth about standing still.
    @Test(arguments: seeds()) func whateverHappensItComesToRest(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var machine = Machine()
            var now = Self.start
            for _ in 0..<60 {
                now += .seconds(random.int(0...30))
                let id = machine.container ?? ContainerID()
                switch random.int(0...11) {
                case 0: _ = machine.ensure(new: ContainerID(), now: now)
                case 1: _ = machine.started(id)
                case 2: machine.startFailed(id, reason: "x")
                case 3: _ = machine.suspend(reason: "x", now: now)
                case 4: _ = machine.frozen(id)
                case 5: _ = machine.freezeFailed(id, now: now)
                case 6: _ = machine.wake(now: now)
                case 7: _ = machine.resumed(id)
                case 8: _ = machine.resumeFailed(id, reason: "x", now: now)
                case 9: _ = machine.stop(reason: "x", now: now)
                case 10: machine.removed(id)
                default: _ = machine.deadlinePassed(now: now)
                }
                if case .suspended = machine.state { #expect(machine.container == id) }
            }
            var steps = 0
            while let deadline = machine.deadline, steps < 10 {
                _ = machine.deadlinePassed(now: deadline)
                steps += 1
            }
            #expect(machine.deadline == nil && steps <= 3)
        }
    }
}
