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
                try await eventually("it was on a core for a fifth of a second", seconds: 30) {
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
                guard stat("/proc/\(name)", &status) == 0, status.st_uid == user,
                    let bytes = try SmallFile.read("/proc/\(name)/stat", atMost: 4096)
                else { continue }
                let text = String(decoding: bytes, as: UTF8.self)
                let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
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
                spec.limits.pids = 1
                let error = await #expect(throws: FastableError.self) { try await node.manager.ensure(spec) }
                #expect(error?.code == .unprocessable)
            }
        }
    }
}
