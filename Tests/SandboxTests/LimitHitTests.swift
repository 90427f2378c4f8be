import FastableCore
import Foundation
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// A container that comes to its limits says so.
    @Suite(.serialized) struct LimitHits {
        private static func told(_ node: TestNode, _ spec: ContainerSpec) -> [LimitTally] {
            var told: [LimitTally] = []
            while let batch = node.manager.transitions.batch() {
                told += batch.transitions.filter { $0.project == spec.project }.compactMap(\.limit)
                node.manager.transitions.confirm(batch)
            }
            return told
        }

        @Test func theVictimOfAMemoryLimitIsNamed() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 64 << 20))
                let neighbour = node.project(limits: ResourceLimits(memoryBytes: 64 << 20))
                try await node.sh(neighbour, "true")
                #expect(try await node.sh(spec, "exit 3").limitHit == nil)
                let killed = try await node.sh(spec, "exec tail /dev/zero")
                #expect(killed.status == 137)
                let hit = LimitHit(.memory, limitBytes: 64 << 20, process: "tail")
                #expect(killed.limitHit == hit)
                // A child's end is told by its parent's failure.
                let parent = try await node.sh(spec, "tail /dev/zero; exit 7")
                #expect(parent.status == 7 && parent.limitHit == hit)
                // What failed later, or elsewhere, had another reason.
                #expect(try await node.sh(spec, "exit 3").limitHit == nil)
                #expect(try await node.sh(neighbour, "exit 3").limitHit == nil)

                let status = try #require(await node.manager.status(spec.project))
                #expect(status.limitHits?.map(\.hit) == [hit] && status.limitHits?.first?.count == 2)
                #expect(await node.manager.status(neighbour.project)?.limitHits == nil)
                let text = try await node.manager.explain(spec.project).text
                #expect(text.contains("memory limit of 64 MiB") && text.contains("‘tail’") && text.contains("2 times"))
                // The second one came within the minute.
                try await eventually { Self.told(node, spec).map(\.hit) == [hit] }

                try await node.restart()
                let found = await node.manager.status(spec.project)?.limitHits
                #expect(found?.map(\.hit) == [hit] && found?.first?.count == 2)
                #expect(try await node.sh(spec, "exec tail /dev/zero").limitHit == hit)
                #expect(await node.manager.status(spec.project)?.limitHits?.first?.count == 3)
                await node.manager.stop(spec.project, reason: "test")
                #expect(await node.manager.status(spec.project)?.limitHits?.first?.count == 3)
                _ = try await node.manager.ensure(spec)
                #expect(await node.manager.status(spec.project)?.limitHits == nil, "each container has its own counts")
            }
        }

        @Test func aHostileNameOfTheVictimIsHarmless() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 64 << 20))
                // The kernel writes the name of a process in front of its user's id, and this one has an opinion of that.
                let script = """
                    mkdir /tmp/d; cat /bin/busybox > '/tmp/d/busybox), UID:0'; chmod 755 /tmp/d/*
                    '/tmp/d/busybox), UID:0' tail /dev/zero; exit 9
                    """
                let result = try await node.sh(spec, script)
                #expect(result.status == 9)
                #expect(result.limitHit?.process == "busybox), UID:0")
            }
        }

        @Test func processesThatWereNotStartedAreTold() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(pids: 32))
                let result = try await node.sh(
                    spec, "i=0; while [ $i -lt 60 ]; do sleep 20 & i=$((i+1)); done; exit 1")
                #expect(result.status != 0)
                #expect(result.limitHit == LimitHit(.pids, limitCount: 32), "\(result)")
                #expect(await node.manager.status(spec.project)?.limitHits?.first?.hit.limit == .pids)
            }
        }

        @Test func whatNoCommandToldIsSeenInTheNextSweep() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 64 << 20))
                // The command itself ends well.
                #expect(try await node.sh(spec, "(tail /dev/zero); true").limitHit == nil)
                await node.manager.sweep()
                let hits = await node.manager.status(spec.project)?.limitHits
                #expect(hits?.map(\.hit) == [LimitHit(.memory, limitBytes: 64 << 20, process: "tail")])
                try await eventually { Self.told(node, spec).count == 1 }
                await node.manager.sweep()
                #expect(await node.manager.status(spec.project)?.limitHits == hits)
            }
        }

        @Test func newLimitsAreThoseThatAreTold() async throws {
            try await TestNode.with { node in
                let spec = node.project(limits: ResourceLimits(memoryBytes: 128 << 20))
                try await node.sh(spec, "true")
                let less = ResourceLimits(memoryBytes: 48 << 20)
                try await node.manager.setLimits(less, revision: 1, of: spec.project)
                var same = spec
                same.limits = less
                same.revision = 1
                #expect(try await node.sh(same, "exec tail /dev/zero").limitHit?.limitBytes == 48 << 20)
            }
        }
    }
}
