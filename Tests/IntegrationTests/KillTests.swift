import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite("A node that returns", .endsInTime)
struct KillTests {
    @Test func nothingIsServedBeforeTheSwitchesAreInForce() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let answer = try await controller.run("admin_kill_all", ["reason": "fire"])
            #expect(answer["missing"]?.array?.count == 1)
            let work = FakeWork(node.name)
            let taken = Mutex<[KillSwitchSet]>([])
            let (killed, done) = AsyncStream.makeStream(of: Void.self)
            try await node.linked(
                work: work,
                welcomed: { set in
                    taken.withLock { $0.append(set) }
                    for await _ in killed {}
                }
            ) {
                try await eventually("the node has the switches") { taken.withLock { $0.count } == 1 }
                #expect(taken.withLock { $0[0].switches.map(\.reason) } == ["fire"])
                try await controller.run("projects_create", ["name": "shop"])
                async let call = controller.post("shell.exec", ["project": "shop", "cmd": "name"])
                // The call is on its way, or waits at the node.
                try await Task.sleep(for: .milliseconds(500))
                #expect(work.methods.isEmpty, "something was served")
                done.finish()
                #expect(try await call.status == 200)
            }
        }
    }
}
