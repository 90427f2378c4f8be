import FastableCore
import Foundation
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// Kill switches on real containers.
    @Suite(.serialized) struct Killing {
        private static func order(
            _ scope: KillScope, _ mode: KillSwitch.Mode = .kill, holds: Bool = false, version: UInt64 = 1
        ) -> KillOrder {
            let held = NodeSwitchBookTests.held(scope, mode, holds: holds)
            return KillOrder(set: KillSwitchSet(version: version, switches: [held]), asked: held.id)
        }

        /// A command whose children leave its session and their parents, and touch nothing that ends with it.
        private static func spread(_ node: TestNode, _ spec: ContainerSpec) async throws -> ExecSession {
            let session = try await node.start(
                spec, "(setsid sh -c '(sleep 1001 &) ; sleep 1002 &' &) ; echo up; sleep 1003")
            let pid = try node.pid(spec)
            try await eventually("all of it runs") {
                descendants(of: pid).count { program($0).hasPrefix("sleep") } == 3
            }
            return session
        }

        private static func program(_ pid: Int32) -> String {
            (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
        }

        /// Processes in the same pid namespace, by the host's own list.
        private static func descendants(of pid: Int32) -> [Int32] {
            guard let namespace = link("/proc/\(pid)/ns/pid") else { return [] }
            return Leftovers.names("/proc").compactMap { Int32($0) }.filter { link("/proc/\($0)/ns/pid") == namespace }
        }

        private static func link(_ path: String) -> String? {
            var buffer = [CChar](repeating: 0, count: 256)
            let count = readlink(path, &buffer, buffer.count)
            return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
        }

        private static let answerTime = Duration.milliseconds(Limits.killAnswerMilliseconds)

        @Test func everyProcessOfTheScopeEndsAndTheReceiptIsTrue() async throws {
            try await TestNode.with { node in
                let (one, two) = (node.project(), node.project())
                // The best of some: what else the machine does at a moment is nobody's kill.
                var best = Duration.seconds(3600)
                for round in 0..<5 as Range<UInt64> where best >= Self.answerTime {
                    best = min(best, try await Self.kill(one, beside: two, on: node, version: 1 + 2 * round))
                }
                #expect(best < Self.answerTime)
            }
        }

        private static func kill(
            _ one: ContainerSpec, beside two: ContainerSpec, on node: TestNode, version: UInt64
        ) async throws -> Duration {
            _ = try await Self.spread(node, one)
            try await node.sh(two, "true")
            let processes = Self.descendants(of: try node.pid(one))
            let other = try node.pid(two)
            let began = ContinuousClock.now
            let answer = await node.manager.apply(order(.project(one.project), holds: true, version: version))
            let took = ContinuousClock.now - began
            print("kill of a container with \(processes.count) processes: acknowledged after \(took)")
            #expect(answer.receipts.map(\.effect) == [.ended] && answer.receipts.first?.execs == 1)
            #expect(answer.state.pending.isEmpty && answer.state.isStored && answer.problem == nil)
            for pid in processes { #expect(Self.link("/proc/\(pid)/exe") == nil, "process \(pid) lives") }
            #expect(Self.link("/proc/\(other)/ns/pid") != nil, "the neighbour must live")
            let error = await expectFailure(.unavailable) { _ = try await node.manager.ensure(one) }
            #expect(error?.message.contains("it mines") == true)
            try await node.sh(two, "true")
            let status = try #require(await node.manager.status(one.project))
            #expect(status.state == .stopped && status.reason.contains("it mines"), "\(status)")
            _ = await node.manager.apply(KillOrder(set: KillSwitchSet(version: version + 1)))
            #expect(try await node.sh(one, "echo again").out == "again\n")
            return took
        }

        @Test func whatStartsMeanwhileEndsToo() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let manager = node.manager
                async let start = manager.ensure(spec)
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...60)))
                let answer = await node.manager.apply(Self.order(.all, holds: true))
                _ = try? await start
                #expect(answer.receipts.allSatisfy { $0.effect == .ended }, "\(answer)")
                #expect(await node.manager.status(spec.project)?.state != .running)
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
            }
        }

        @Test func manyEndInParallelAndInTime() async throws {
            try await TestNode.with { node in
                let specs = (0..<12).map { _ in node.project() }
                let manager = node.manager
                var (best, version) = (Duration.seconds(3600), UInt64(0))
                while best >= Self.answerTime, version < 5 {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for spec in specs { group.addTask { _ = try await manager.ensure(spec) } }
                        try await group.waitForAll()
                    }
                    version += 1
                    let began = ContinuousClock.now
                    let answer = await node.manager.apply(Self.order(.all, version: version))
                    best = min(best, ContinuousClock.now - began)
                    print("kill of \(specs.count) containers: acknowledged after \(best)")
                    #expect(answer.receipts.count == specs.count)
                    #expect(answer.receipts.allSatisfy { $0.effect == .ended })
                }
                #expect(best < Self.answerTime)
                // It held nothing, and sent again it ends nothing.
                try await node.sh(specs[0], "true")
                let again = await node.manager.apply(
                    KillOrder(set: KillSwitchSet(version: version, switches: []), asked: nil))
                #expect(again.receipts.isEmpty)
                try await node.sh(specs[0], "true")
            }
        }

        @Test func aSwitchThatWasStoredIsCarriedOutAfterADeathBeforeTheKill() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let session = try await Self.spread(node, spec)
                let pid = try node.pid(spec)
                // What a daemon leaves that dies between both.
                let held = NodeSwitchBookTests.held(.project(spec.project), holds: true)
                let file = node.configuration.paths.state + "/switches.json"
                let stored = NodeSwitchBook.Stored(
                    set: KillSwitchSet(version: 5, switches: [held]), carriedOut: [])
                try AtomicFile.write(file, Array(try JSON.encode(stored)))
                try await node.restart()
                _ = session
                // The kernel takes a moment for what was killed.
                try await eventually("the container has ended") { Self.link("/proc/\(pid)/ns/pid") == nil }
                #expect(node.manager.switchState.pending.isEmpty && node.manager.switchState.version == 5)
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                // An older set does not lift it, over a restart either.
                _ = await node.manager.apply(KillOrder(set: KillSwitchSet(version: 4)))
                try await node.restart()
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
            }
        }

        @Test func nothingNewBeginsAndWhatRunsGoesOn() async throws {
            try await TestNode.with { node in
                let (spec, fresh) = (node.project(), node.project())
                let session = try await node.start(spec, "sleep 1; echo done")
                _ = await node.manager.apply(Self.order(.all, .noNewWork, holds: true))
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(fresh) }
                #expect(try await TestNode.collect(session).out == "done\n")
            }
        }

        @Test func aSwitchedOffNetworkStopsFlowsUnderWayAndBringsThemBack() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let spec = node.project()
                    try await EchoFlow.with(node, spec, internet) { flow in
                        try await flow.expectEcho("one")
                        let order = Self.order(.project(spec.project), .network, holds: true)
                        let answer = await node.manager.apply(order)
                        #expect(answer.receipts.map(\.effect) == [.networkCut] && answer.problem == nil)
                        try await flow.expectSilence("two")
                        _ = await node.manager.apply(KillOrder(set: KillSwitchSet(version: 2)))
                        try await flow.expectEcho("two")
                    }
                }
            }
        }

        @Test(arguments: [true, false])
        func aSwitchedOffNetworkStaysOffOverARestart(ofAll: Bool) async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let (spec, other) = (node.project(), node.project())
                    let address = "\(internet.publicAddress):\(FakeInternet.port)"
                    try await Networking.expect(node, spec, address, answers: true)
                    let scope = ofAll ? KillScope.all : .workspace(spec.workspace)
                    _ = await node.manager.apply(Self.order(scope, .network, holds: true))
                    try await Networking.expect(node, spec, address, answers: false)
                    let log = LogRecorder()
                    try await node.restart(log.logger)
                    try await node.manager.checkNetwork()
                    try await Networking.expect(node, spec, address, answers: false)
                    // A project that comes later is reached when it is in the scope, and only then.
                    try await Networking.expect(node, other, address, answers: !ofAll)
                    #expect(log.count("firewall rules") == 0, "nobody changed them")
                    _ = await node.manager.apply(KillOrder(set: KillSwitchSet(version: 2)))
                    try await Networking.expect(node, spec, address, answers: true)
                }
            }
        }

        @Test func theHostsNetworkSwitchWorksWithoutTheDaemon() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let spec = node.project()
                    let address = "\(internet.publicAddress):\(FakeInternet.port)"
                    try await Networking.expect(node, spec, address, answers: true)
                    // The daemon is there to run the commands of this test only: it knows nothing of the switch.
                    try await LocalKill(paths: node.configuration.paths).cutNetworks()
                    try await Networking.expect(node, spec, address, answers: false)
                }
            }
        }

        @Test func theHostsSwitchWorksWithoutTheDaemon() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                _ = try await Self.spread(node, spec)
                let processes = Self.descendants(of: try node.pid(spec))
                await node.manager.close()
                let paths = node.configuration.paths
                _ = try LocalSwitch(paths: paths).turnOn(.kill, reason: "fire", by: "root")
                let kill = try LocalKill(paths: paths)
                try await kill.killAll()
                #expect(await kill.waitUntilEmpty(seconds: 120) == [])
                for pid in processes { #expect(Self.link("/proc/\(pid)/exe") == nil, "process \(pid) lives") }
                try await node.restart()
                let error = await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                #expect(error?.message.contains("fire") == true && error?.message.contains("kill-switch off") == true)
                // The controller cannot lift it.
                _ = await node.manager.apply(KillOrder(set: KillSwitchSet(version: .max / 2)))
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                try LocalSwitch(paths: paths).turnOff()
                await node.manager.apply(local: LocalSwitch(paths: paths).current)
                try await node.sh(spec, "true")
            }
        }

        @Test func aDamagedFileOfTheHostsSwitchHoldsNewWork() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                try AtomicFile.write(node.configuration.paths.state + "/kill-switch.json", Array("{".utf8))
                try await node.restart()
                #expect(await node.manager.status(spec.project)?.state == .running, "it ends nothing")
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(node.project()) }
            }
        }

        @Test func idleContainersAreSuspendedAndBusyOnesAreNot() async throws {
            try await TestNode.with { node in
                let (idle, busy, fresh) = (node.project(), node.project(), node.project())
                for spec in [idle, busy, fresh] { try await node.sh(spec, "true") }
                let session = try await node.start(busy, "sleep 100")
                let later = ContinuousClock.now + .seconds(3600)
                let none = await node.manager.sweepIdle(IdleSweep(idleSeconds: 3600 * 2), now: later)
                #expect(none == IdleSweepResult(kept: 3))
                let swept = await node.manager.sweepIdle(IdleSweep(idleSeconds: 1800), now: later)
                #expect(swept == IdleSweepResult(suspended: 2, kept: 1))
                #expect(await node.manager.status(busy.project)?.state == .running)
                #expect(await node.manager.status(idle.project)?.state == .suspended)
                _ = session
            }
        }
    }
}
