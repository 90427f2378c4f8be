import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    @Suite(.serialized) struct LimitsInForce {
        @Test func processesAreCounted() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(pids: 32))
                let result = try await node.sh(
                    spec, "i=0; while [ $i -lt 100 ]; do sleep 30 & i=$((i+1)); done; ps | grep -c sleep")
                #expect(result.status != 0 || (Int(result.out.split(separator: "\n").last ?? "") ?? 0) < 40)
                #expect(result.err.contains("fork"))
                // Others are not hurt, and the container recovers as soon as the processes are gone.
                #expect(try await node.sh(node.project(), "echo fine").out == "fine\n")
            }
        }

        @Test func memoryIsLimitedAndSwapForbidden() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 64 << 20))
                let eater = try await node.sh(spec, "tail /dev/zero")
                #expect(eater.status == 137, "\(eater)")
                #expect(try await node.sh(spec, "echo alive").out == "alive\n")
                // Files in memory count, too; theirs is half of the limit.
                let full = try await node.sh(spec, "dd if=/dev/zero of=/dev/shm/x bs=1M count=48; rm /dev/shm/x")
                #expect(full.err.contains("No space left"))
                let big = try await node.sh(
                    spec, "dd if=/dev/zero of=/tmp/x bs=1M count=100 2>/dev/null && stat -c %s /tmp/x")
                #expect(big.out == "104857600\n")
            }
        }

        @Test func aCoreIsShared() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(cpus: 0.2))
                try await node.sh(spec, "true")
                let session = try await node.start(spec, "while :; do :; done")
                let began = ContinuousClock.now
                let before = try Self.cpuTicks(node, spec)
                var used = 0
                try await eventually("it was on a core for a fifth of a second") {
                    used = try Self.cpuTicks(node, spec) - before
                    return used >= 20
                }
                // A machine with other work may give it less than the fifth of the time that it may have.
                let share = Double(used) / 100 / ((ContinuousClock.now - began) / .seconds(1))
                #expect(share < 0.4, "\(used) hundredths of a second")
                try await node.manager.ensure(spec).execs.kill(session.exec, signal: 9)
            }
        }

        /// Hundredths of a second that the container's processes used.
        static func cpuTicks(_ node: TestNode, _ spec: ContainerSpec) throws -> Int {
            let user = node.manager.block.uidBase
            var ticks = 0
            for name in Leftovers.names("/proc") where Int(name) != nil {
                var status = stat()
                // One that has just ended has no file any more, or one that cannot be read.
                guard stat("/proc/\(name)", &status) == 0, status.st_uid == user,
                    let bytes = (try? SmallFile.read("/proc/\(name)/stat", atMost: 4096)).flatMap({ $0 })
                else { continue }
                let text = String(decoding: bytes, as: UTF8.self)
                let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
                guard fields.count > 13 else { continue }
                ticks += (Int(fields[12]) ?? 0) + (Int(fields[13]) ?? 0)
            }
            return ticks
        }

        @Test func openFilesAndCoresAreLimited() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let text = try await node.sh(spec, "ulimit -n; ulimit -c").out.split(separator: "\n")
                #expect((Int(text.first ?? "") ?? 0) >= 1024)
                #expect(text.last == "0")
            }
        }

        @Test func newLimitsReachARunningContainer() async throws {
            try await TestNode.with { node in
                var spec = node.project(limits: ResourceLimits(memoryBytes: 64 << 20, pids: 32))
                let before = try await node.manager.ensure(spec)
                spec.limits = ResourceLimits(memoryBytes: 128 << 20, pids: 200)
                #expect(try await node.manager.ensure(spec).id == before.id)
                let result = try await node.sh(
                    spec, "i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all")
                #expect(result.out == "all\n", "\(result.err)")
                #expect(await node.manager.status(spec.project)?.limits == spec.limits)
                #expect(try Self.number(node, before.id, "pids.max") == 200)
                spec.limits.pids = 1
                let error = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
                #expect(error?.code == .unprocessable)
            }
        }

        /// A number in a file of a container's group, in whatever tree it is.
        static func number(_ node: TestNode, _ container: ContainerID, _ files: String...) throws -> Int {
            for group in Leftovers.groups(node.configuration.paths.instance) {
                for file in files {
                    guard let bytes = try? SmallFile.read("\(group)/\(container)/\(file)", atMost: 64),
                        let number = Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
                    else { continue }
                    return number
                }
            }
            throw FastableError(.notFound, "no group has \(files)")
        }

        static func memoryLimit(_ node: TestNode, _ container: ContainerID) throws -> Int {
            try number(node, container, "memory.limit_in_bytes", "memory.max")
        }

        /// Cached files included.
        static func memoryInUse(_ node: TestNode, _ container: ContainerID) throws -> Int {
            try number(node, container, "memory.usage_in_bytes", "memory.current")
        }

        @Test func aRunningCommandGetsWhatItsContainerGets() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(cpus: 0.2, memoryBytes: 64 << 20, pids: 40))
                let id = try await node.manager.ensure(spec).id
                // It takes what it may not have yet once it is told to.
                let session = try await node.start(
                    spec,
                    "until [ -e /workspace/go ]; do sleep 0.05; done; head -c 100000000 /dev/zero | tail -c 99990000 | wc -c"
                )
                let more = ResourceLimits(cpus: 1.5, memoryBytes: 256 << 20, pids: 400)
                try await node.manager.setLimits(more, revision: 1, of: spec.project)
                #expect(try Self.memoryLimit(node, id) == 256 << 20)
                #expect(try Self.number(node, id, "pids.max") == 400)
                #expect(try Self.number(node, id, "cpu.cfs_quota_us", "cpu.max") == 150_000)
                try AtomicFile.write(node.configuration.paths.project(spec.project).workspace + "/go", [])
                let output = try await TestNode.collect(session)
                #expect(output.out == "99990000\n", "\(output)")
                #expect(await node.manager.status(spec.project)?.limits == more)
                #expect(await node.manager.status(spec.project)?.container == id)
            }
        }

        @Test func aLimitBelowWhatIsInUseIsRefusedWithTheNumbers() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 256 << 20))
                let id = try await node.manager.ensure(spec).id
                let session = try await node.start(
                    spec, "x=$(head -c 60000000 /dev/zero | tr '\\0' a); echo ready; sleep 60; echo ${#x} >/dev/null")
                try await eventually("it has the memory") {
                    try Self.memoryInUse(node, id) > 60 << 20
                }
                var less = ResourceLimits(cpus: 0.5, memoryBytes: 40 << 20, pids: 100)
                let refused = await #expect(throws: FastableError.self) {
                    try await node.manager.setLimits(less, revision: 1, of: spec.project)
                }
                #expect(refused?.code == .conflict && refused?.details["field"] == "memoryBytes")
                #expect(refused?.details["inUse"]?.integer ?? 0 > 40 << 20, "\(String(describing: refused))")
                // Nothing of it is in force, and nothing was ended.
                #expect(try Self.memoryLimit(node, id) == 256 << 20)
                #expect(try Self.number(node, id, "pids.max") == 512)
                #expect(await node.manager.status(spec.project)?.limits == spec.limits)
                #expect(session.status.running)
                // Limits that come with a command do not make it fail.
                var late = spec
                late.limits = less
                #expect(try await node.sh(late, "echo fine").out == "fine\n")
                try await node.manager.ensure(spec).execs.kill(session.exec, signal: 9)
                _ = try? await TestNode.collect(session)
                // Cached files are no use of memory that counts.
                try await node.sh(spec, "head -c 100000000 /dev/zero > /tmp/x; cat /tmp/x >/dev/null")
                try await node.manager.setLimits(less, revision: 2, of: spec.project)
                #expect(try Self.memoryLimit(node, id) == 40 << 20)
                #expect(await node.manager.status(spec.project)?.limits == less)
                less.pids = 16
                let sleeper = try await node.start(
                    spec, "i=0; while [ $i -lt 30 ]; do sleep 60 & i=$((i+1)); done; wait")
                try await eventually("they run") { try Self.number(node, id, "pids.current") > 30 }
                let crowd = await #expect(throws: FastableError.self) {
                    try await node.manager.setLimits(less, revision: 3, of: spec.project)
                }
                #expect(crowd?.code == .conflict && crowd?.details["field"] == "pids")
                try await node.manager.ensure(spec).execs.kill(sleeper.exec, signal: 9)
            }
        }

        @Test func newLimitsOutliveTheContainerAndOlderOnesDoNotComeBack() async throws {
            try await TestNode.with { node in
                var spec = node.project()
                spec.revision = 1
                _ = try await node.manager.ensure(spec)
                let more = ResourceLimits(cpus: 2, memoryBytes: 2 << 30, pids: 1000)
                try await node.manager.suspend(spec.project, force: true)
                try await node.manager.setLimits(more, revision: 2, of: spec.project)
                #expect(await node.manager.status(spec.project)?.state == .suspended)
                // A command that was on its way meanwhile brings the old ones.
                let awake = try await node.manager.ensure(spec)
                #expect(try Self.memoryLimit(node, awake.id) == 2 << 30)
                await node.manager.stop(spec.project, reason: "test")
                try await node.restart()
                let next = try await node.manager.ensure(spec)
                #expect(try Self.memoryLimit(node, next.id) == 2 << 30)
                #expect(try Self.number(node, next.id, "pids.max") == 1000)
                #expect(await node.manager.status(spec.project)?.limits == more)
                // Those of a node that was away come with its other settings.
                let last = ResourceLimits(cpus: 1, memoryBytes: 1 << 30, pids: 300)
                try await node.manager.setSettings(
                    ContainerPolicy(project: spec.project, policy: .standard, limits: last, revision: 3))
                #expect(try Self.number(node, next.id, "pids.max") == 300)
            }
        }
    }
}
