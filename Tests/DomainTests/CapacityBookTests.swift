import ControllerDomain
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct CapacityBookTests {
    private let node = NodeID()
    private let workspace = WorkspaceID()
    private let facts = NodeFacts(
        programVersion: "1", hostName: "h", kernel: "6", cgroup: .v2, runtime: "runc", cpus: 4, memoryBytes: 1 << 33,
        diskBytes: 1, diskFreeBytes: 1, images: [])

    private func start(_ project: ProjectID = ProjectID(), on other: NodeID? = nil) -> CapacityBook.Start {
        CapacityBook.Start(project: project, workspace: workspace, node: other ?? node, limits: ResourceLimits())
    }

    private func report(
        _ containers: [(ProjectID, ContainerState)], continues: Bool = false, isIncomplete: Bool = false
    ) -> NodeReport {
        let statuses = containers.map { project, state in
            ContainerStatus(
                project: project, state: state, container: nil, image: "i", startedAt: nil, reason: "",
                limits: ResourceLimits(), runningExecs: 0)
        }
        return NodeReport(facts: facts, containers: statuses, continues: continues, isIncomplete: isIncomplete)
    }

    @Test func onlyWhatIsAwakeCounts() {
        var book = CapacityBook()
        #expect(!book.knows(node))
        book.take(report(ContainerState.allCases.map { (ProjectID(), $0) }), of: node)
        #expect(book.knows(node))
        let load = book.load(of: node)
        #expect(load.awake == 2, "one that is created, and one that runs")
        #expect(load.memoryBytes == 2 * ResourceLimits().memoryBytes && load.pids == 2 * ResourceLimits().pids)
        #expect(book.load(of: NodeID()) == NodeLoad())
        book.take(report([]), of: node)
        #expect(book.load(of: node) == NodeLoad())
    }

    /// A report counts when its last part is there.
    @Test func partsOfAReportAreOne() {
        var book = CapacityBook()
        let (first, second, third) = (ProjectID(), ProjectID(), ProjectID())
        book.take(report([(first, .running)]), of: node)
        book.take(report([(second, .running)], isIncomplete: true), of: node)
        #expect(book.load(of: node, without: first).awake == 0)
        book.take(report([(third, .running)], continues: true), of: node)
        #expect(book.load(of: node).awake == 2 && book.load(of: node, without: first).awake == 2)
    }

    @Test func whatNodesTellDoesNotOverflow() {
        var book = CapacityBook()
        for value in [Int.max, Int.min] {
            var absurd = report((0..<10).map { _ in (ProjectID(), .running) })
            for index in absurd.containers.indices {
                absurd.containers[index].limits = ResourceLimits(
                    cpus: value > 0 ? .infinity : -.infinity, memoryBytes: value, pids: value)
            }
            book.take(absurd, of: node)
            let load = book.load(of: node)
            #expect(load.memoryBytes >= 0 && load.cpus >= 0 && load.pids >= 0)
        }
    }

    /// From the wish on it counts, and then until a report that was gathered after the wait for it.
    @Test func aStartCountsUntilItsNodeHasToldOfIt() {
        var book = CapacityBook()
        let start = start()
        let isKnown = book.join(start)
        #expect(!isKnown, "nothing is known of it")
        book.admit(start)
        let isShared = book.join(start)
        #expect(isShared)
        for _ in 0..<5 { book.take(report([]), of: node) }
        #expect(book.load(of: node).awake == 1, "reports from before it runs say nothing")
        book.release(start.project)
        for _ in 0..<5 { book.take(report([]), of: node) }
        #expect(book.load(of: node).awake == 1, "somebody still waits for it")
        book.release(start.project)
        book.take(report([]), of: node)
        #expect(book.load(of: node).awake == 1, "this report may have been gathered before")
        book.take(report([(start.project, .running)]), of: node)
        #expect(book.load(of: node).awake == 1, "it is one, however it is known")
        let isAwake = book.join(start)
        #expect(isAwake)
        book.release(start.project)
        for _ in 0..<2 { book.take(report([(start.project, .suspended)]), of: node) }
        #expect(book.load(of: node).awake == 0)
    }

    @Test func whatTheNodeAnsweredCountsAtOnce() {
        var book = CapacityBook()
        let start = start()
        book.admit(start)
        book.admit(start)
        book.release(start.project, .failed)
        #expect(book.load(of: node).awake == 1, "somebody else waits for it")
        book.release(start.project, .failed)
        #expect(book.load(of: node).awake == 0)
        book.take(report([(start.project, .running)]), of: node)
        book.note(start.project, .running, on: node)
        #expect(book.load(of: node).awake == 1)
        book.note(start.project, .stopped, on: NodeID())
        #expect(book.load(of: node).awake == 1, "another node has nothing to say of it")
        book.note(start.project, .stopped, on: node)
        #expect(book.load(of: node).awake == 0)
    }

    /// One that was placed counts for its node, and is let start only by being admitted.
    @Test func whatWasPlacedIsExpected() {
        var book = CapacityBook()
        let start = start()
        book.expect(start)
        let isLetStart = book.join(start)
        #expect(book.load(of: node).awake == 1 && !isLetStart)
        book.take(report([]), of: node)
        book.take(report([]), of: node)
        #expect(book.load(of: node).awake == 0, "it did not start")
    }

    /// One that goes to another node counts there, and for its workspace as before.
    @Test func whatMovesIsExpectedElsewhere() {
        var book = CapacityBook()
        let project = ProjectID()
        let other = NodeID()
        book.admit(start(project))
        book.expect(start(project, on: other))
        #expect(book.load(of: node).awake == 1 && book.load(of: other).awake == 0, "somebody uses it where it is")
        book.release(project)
        book.expect(start(project, on: other))
        #expect(book.load(of: node).awake == 0 && book.load(of: other).awake == 1)
        #expect(book.usage(of: workspace, [:]).containers == 1)
        book.take(report([]), of: node)
        book.take(report([]), of: other)
        #expect(book.usage(of: workspace, [:]).containers == 1)
        book.take(report([]), of: other)
        #expect(book.usage(of: workspace, [:]) == WorkspaceUsage())
    }

    @Test func aLostNodeIsForgotten() {
        var book = CapacityBook()
        let (waiting, awake) = (start(), ProjectID())
        book.take(report([(awake, .running)]), of: node)
        book.admit(waiting)
        book.forget(node)
        #expect(book.load(of: node).awake == 1, "somebody waits for it")
        book.release(waiting.project)
        book.forget(node)
        #expect(book.load(of: node).awake == 0 && !book.knows(node))
    }

    /// Whatever happens: while somebody uses a container it counts, and when all have gone the node's word alone counts.
    @Test(arguments: seeds()) func countsFollowReports(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let projects = (0..<6).map { _ in ProjectID() }
        let nodes = [node, NodeID()]
        var book = CapacityBook()
        var users: [ProjectID: (node: NodeID, count: Int)] = [:]
        for _ in 0..<2000 {
            let project = projects.randomElement(using: &generator) ?? projects[0]
            let place = users[project]?.node ?? nodes.randomElement(using: &generator) ?? node
            switch Int.random(in: 0..<5, using: &generator) {
            case 0, 1:
                let wish = start(project, on: place)
                if !book.join(wish) { book.admit(wish) }
                users[project] = (place, (users[project]?.count ?? 0) + 1)
            case 2:
                guard let known = users[project] else { continue }
                book.release(project, Bool.random(using: &generator) ? .stopped : nil)
                users[project] = known.count > 1 ? (known.node, known.count - 1) : nil
            case 3: book.note(project, .suspended, on: place)
            default:
                let told = projects.filter { _ in Bool.random(using: &generator) }
                book.take(report(told.map { ($0, .running) }), of: place)
            }
            for node in nodes {
                let used = users.values.filter { $0.node == node }.count
                #expect(book.load(of: node).awake >= used)
            }
        }
        for (project, known) in users { for _ in 0..<known.count { book.release(project) } }
        for node in nodes {
            for _ in 0..<2 { book.take(report([(projects[0], .running)]), of: node) }
            #expect(book.load(of: node).awake == 1)
        }
    }
}
