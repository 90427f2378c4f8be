import FastableCore
import FoundationEssentials
import NodeSandbox
import TestSupport
import Testing

/// Programs that run whenever the container does, as the machine sees them.
@Suite struct SupervisorStateMachineTests {
    typealias Machine = SupervisorStateMachine

    private static let start = ContinuousClock.now
    private static let container = ContainerID()

    private static func process(
        _ name: String = "dev", isWanted: Bool = true, generation: Int = 1
    ) -> SupervisedProcess {
        SupervisedProcess(name: name, arguments: ["serve"], isWanted: isWanted, generation: generation)
    }

    private static func started(_ actions: [Machine.Action]) throws -> ExecID {
        guard case .start(_, let exec)? = actions.first, actions.count == 1 else {
            throw FastableError(.internal, "no start: \(actions)")
        }
        return exec
    }

    @Test func itRunsInEachContainer() throws {
        var machine = Machine()
        let wanted = [Self.process()]
        #expect(machine.reconcile(wanted, .none, now: Self.start) { ExecID() }.isEmpty)
        #expect(machine.statuses { _ in Date() }.map(\.state) == [.resting])
        let first = try Self.started(machine.reconcile(wanted, .running(Self.container), now: Self.start) { ExecID() })
        #expect(machine.reconcile(wanted, .running(Self.container), now: Self.start) { ExecID() }.isEmpty)
        #expect(machine.runs == [first])
        // It sleeps and wakes with it.
        #expect(machine.reconcile(wanted, .asleep(Self.container), now: Self.start) { ExecID() }.isEmpty)
        #expect(machine.statuses { _ in Date() }.map(\.state) == [.resting])
        #expect(machine.reconcile(wanted, .running(Self.container), now: Self.start) { ExecID() }.isEmpty)
        #expect(machine.reconcile(wanted, .none, now: Self.start) { ExecID() }.isEmpty)
        #expect(machine.runs.isEmpty)
        let next = ContainerID()
        let second = try Self.started(machine.reconcile(wanted, .running(next), now: Self.start) { ExecID() })
        #expect(second != first)
        // Late news of the first.
        machine.ended(first, now: Self.start)
        #expect(machine.runs == [second])
        #expect(machine.statuses { _ in Date() }.map(\.failures) == [0])
    }

    @Test func pausesGrowUntilItStays() throws {
        var machine = Machine()
        var now = Self.start
        let wanted = [Self.process()]
        var pauses: [Int] = []
        for _ in 0..<9 {
            let exec = try Self.started(machine.reconcile(wanted, .running(Self.container), now: now) { ExecID() })
            machine.ended(exec, now: now)
            let deadline = try #require(machine.deadline)
            pauses.append(Int((deadline - now) / .seconds(1)))
            let early = machine.reconcile(wanted, .running(Self.container), now: deadline - .milliseconds(1)) {
                ExecID()
            }
            #expect(early.isEmpty)
            now = deadline
        }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60])
        let exec = try Self.started(machine.reconcile(wanted, .running(Self.container), now: now) { ExecID() })
        now += .seconds(Limits.supervisedSettledSeconds)
        machine.ended(exec, now: now)
        #expect(machine.deadline == now + .seconds(Limits.supervisedPauseFirstSeconds), "it had run for long")
        // Nothing wakes a container for it.
        _ = machine.reconcile(wanted, .asleep(Self.container), now: now) { ExecID() }
        #expect(machine.deadline == nil)
    }

    @Test func anotherGenerationTakesItsPlace() throws {
        var machine = Machine()
        let exec = try Self.started(
            machine.reconcile([Self.process()], .running(Self.container), now: Self.start) { ExecID() })
        let anew = [Self.process(generation: 2)]
        #expect(machine.reconcile(anew, .running(Self.container), now: Self.start) { ExecID() } == [.end(exec)])
        #expect(machine.reconcile(anew, .running(Self.container), now: Self.start) { ExecID() }.isEmpty)
        let retry = try #require(machine.deadline)
        #expect(machine.reconcile(anew, .running(Self.container), now: retry) { ExecID() } == [.end(exec)], "again")
        machine.ended(exec, now: retry)
        let second = try Self.started(machine.reconcile(anew, .running(Self.container), now: retry) { ExecID() })
        #expect(machine.recorded == [Machine.Recorded(name: "dev", exec: second, generation: 2)])
        // One that waits for its next start begins at once.
        machine.ended(second, now: retry)
        _ = try Self.started(
            machine.reconcile([Self.process(generation: 3)], .running(Self.container), now: retry) { ExecID() })
    }

    @Test func whatAnEarlierDaemonStartedIsNotStartedTwice() throws {
        let exec = ExecID()
        let recorded = [
            Machine.Recorded(name: "dev", exec: exec, generation: 1),
            Machine.Recorded(name: "old", exec: ExecID(), generation: 4),
        ]
        var machine = Machine(found: recorded, wanted: [Self.process()], in: Self.container, now: Self.start)
        let actions = machine.reconcile([Self.process()], .running(Self.container), now: Self.start) { ExecID() }
        #expect(actions == [.end(recorded[1].exec)], "nobody wants it any more")
        #expect(machine.runs == Set(recorded.map(\.exec)))
        machine.ended(exec, now: Self.start)
        #expect(machine.statuses { _ in Date() }.map(\.state) == [.waiting, .stopped])
        machine.ended(recorded[1].exec, now: Self.start)
        _ = machine.reconcile([Self.process()], .running(Self.container), now: Self.start) { ExecID() }
        #expect(machine.statuses { _ in Date() }.map(\.name) == ["dev"], "it is forgotten")
    }

    /// Whatever happens, at most one run of a name is under way, nothing runs that is not wanted for longer than its end takes, and what is
    /// wanted runs in the end.
    @Test(arguments: 0..<40) func atMostOneRunsWhateverHappens(round: UInt64) throws {
        let seed = 7919 * round + 17
        var world = SupervisedWorld(seed: seed)
        for step in 0..<400 { try world.step("seed \(seed), step \(step)") }
        try world.settle("seed \(seed)")
    }
}

/// Containers and programs that do what they like.
private struct SupervisedWorld {
    private static let names = ["a", "b", "c"]

    private var machine = SupervisorStateMachine()
    private var generator: SeededGenerator
    private var now = ContinuousClock.now
    private var wanted: [SupervisedProcess] = []
    private var phase = SupervisorStateMachine.Phase.none
    private var running: [ExecID: (name: String, generation: Int)] = [:]
    private var lastGeneration = 1

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func step(_ what: String) throws {
        switch generator.int(0...9) {
        case 0: changeWish()
        case 1: changePhase()
        case 2, 3: endOne()
        case 4: restartDaemon()
        default: now += .milliseconds(generator.int(0...4000))
        }
        try reconcile(what)
    }

    mutating func settle(_ what: String) throws {
        if phase == .none { phase = .running(ContainerID()) }
        if case .asleep(let id) = phase { phase = .running(id) }
        for _ in 0..<200 {
            try reconcile(what, endsAtOnce: true)
            now += .seconds(1)
        }
        let expected = wanted.filter(\.isWanted).map { "\($0.name) \($0.generation)" }
        #expect(running.values.map { "\($0.name) \($0.generation)" }.sorted() == expected.sorted(), "\(what)")
    }

    private mutating func changeWish() {
        let name = Self.names[generator.int(0...2)]
        let index = wanted.firstIndex { $0.name == name }
        switch (index, generator.int(0...2)) {
        case (nil, _): wanted.append(SupervisedProcess(name: name, arguments: ["x"], generation: newGeneration()))
        case (let index?, 0): wanted.remove(at: index)
        case (let index?, 1): wanted[index].isWanted.toggle()
        case (let index?, _): wanted[index].generation = newGeneration()
        }
    }

    private mutating func newGeneration() -> Int {
        lastGeneration += 1
        return lastGeneration
    }

    private mutating func changePhase() {
        switch phase {
        case .none: phase = .running(ContainerID())
        case .running(let id) where generator.chance(60): phase = .asleep(id)
        case .asleep(let id) where generator.chance(60): phase = .running(id)
        case .running, .asleep:
            phase = generator.chance(50) ? .none : .running(ContainerID())
            running = [:]
        }
    }

    private mutating func endOne() {
        guard case .running = phase, let exec = running.keys.sorted().first else { return }
        running[exec] = nil
        machine.ended(exec, now: now)
    }

    private mutating func restartDaemon() {
        let container: ContainerID? =
            switch phase {
            case .running(let id), .asleep(let id): id
            case .none: nil
            }
        let recorded = container == nil ? [] : machine.recorded
        machine = SupervisorStateMachine(found: recorded, wanted: wanted, in: container, now: now)
        for run in recorded where running[run.exec] == nil { machine.ended(run.exec, now: now) }
    }

    private mutating func reconcile(_ what: String, endsAtOnce: Bool = false) throws {
        for action in machine.reconcile(wanted, phase, now: now, newID: { ExecID() }) {
            guard case .running = phase else { throw FastableError(.internal, "\(action) without processes, \(what)") }
            switch action {
            case .start(let process, let exec):
                #expect(!running.values.contains { $0.name == process.name }, "\(what): two runs of \(process.name)")
                #expect(wanted.contains { $0.name == process.name && $0.isWanted }, "\(what)")
                running[exec] = (process.name, process.generation)
            case .end(let exec):
                // Now and then it is not heard.
                guard endsAtOnce || generator.chance(70) else { continue }
                running[exec] = nil
                machine.ended(exec, now: now)
            }
        }
    }
}
