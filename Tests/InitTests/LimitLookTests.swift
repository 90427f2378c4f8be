import Dispatch
import FastableCore
import Foundation
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// What is looked up when a command fails holds up nobody else, with a real init and counters that a test writes.
@Suite("Limits of failed commands", .enabled(if: InitProcess.available, "needs root and unshare"))
struct LimitLookTests {
    private struct World {
        let process: InitProcess
        let table: ExecTable
        let limits: LimitWatch

        /// The kernel has ended so many processes of the container.
        func ended(_ count: Int) throws {
            try Data("low 0\noom_kill \(count)\n".utf8).write(to: URL(fileURLWithPath: process.folder + "/memory"))
        }
    }

    private func withWorld(_ body: (World) async throws -> Void) async throws {
        try await InitProcess.with { process in
            let limits = LimitWatch()
            let world = World(
                process: process, table: try await process.table(activity: ProjectActivity(limits: limits)),
                limits: limits)
            try world.ended(0)
            let counters = LimitCounters(memory: open(process.folder + "/memory", O_RDONLY | O_CLOEXEC), pids: -1)
            limits.begins(
                LimitWatch.Subject(
                    container: process.container, limits: ResourceLimits(memoryBytes: 64 << 20), counters: counters,
                    users: 0..<1, log: KernelLog(path: "/dev/null"), disk: process.folder), isNew: true)
            try await body(world)
            await world.table.close()
        }
    }

    /// A look at the limits that takes until the test lets it go on, or far too long.
    private struct HeldLook {
        private let began = DispatchSemaphore(value: 0)
        private let mayGoOn = DispatchSemaphore(value: 0)

        init(_ limits: LimitWatch) {
            limits.onHit { [began, mayGoOn] _ in
                began.signal()
                _ = mayGoOn.wait(timeout: .now() + 60)
            }
        }

        func hasBegun() async {
            await withCheckedContinuation { waiter in
                DispatchQueue.global().async { [began] in
                    began.wait()
                    waiter.resume()
                }
            }
        }

        func goesOn() { mayGoOn.signal() }
    }

    private static let hit = LimitHit(.memory, limitBytes: 64 << 20)

    @Test(.endsInTime) func othersPrintWhileOneIsLookedUp() async throws {
        try await withWorld { world in
            let look = HeldLook(world.limits)
            let failing = try await world.table.shell("echo out; exit 3")
            let go = world.process.folder + "/go"
            let failed = try await world.table.shell("until [ -e \(go) ]; do sleep 0.02; done; exit 3")
            #expect(try await failing.finish().result.limitHit == nil)
            try world.ended(1)
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            await look.hasBegun()
            #expect(try await world.table.run("echo others").text == "others\n")
            #expect(failed.status.running, "its result is not complete yet: nobody had to wait for the look")
            look.goesOn()
            #expect(try await failed.finish().result.limitHit == Self.hit)
            #expect(try await world.table.run("exit 3").result.limitHit == nil, "that was before")
        }
    }

    /// The container ends, and its init is gone, while it is looked up how one of its commands ended.
    @Test(.endsInTime) func theEndOfTheContainerDoesNotReplaceAnOutcome() async throws {
        try await withWorld { world in
            let look = HeldLook(world.limits)
            let go = world.process.folder + "/go"
            let failed = try await world.table.shell("until [ -e \(go) ]; do sleep 0.02; done; exit 3")
            let running = try await world.table.shell("sleep 60")
            try world.ended(1)
            #expect(FileManager.default.createFile(atPath: go, contents: nil))
            await look.hasBegun()
            async let closed: Void = world.table.close(containerEnded: true)
            try await eventually("the end is known") { !running.status.running }
            #expect(failed.status.running)
            look.goesOn()
            await closed
            let kept = try await world.process.readBack(failed.exec).finish().result
            #expect(kept.exitCode == 3 && kept.limitHit == Self.hit)
            await expectFailure(.gone) { _ = try await running.finish() }
        }
    }
}
