import FastableCore
import FoundationEssentials
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Speed {
        /// From the wish for a new project's container, on an image that is there, to an init that answers.
        @Test(.measuresOnDemand) func aNewProjectIsReadyInATenthOfASecond() async throws {
            try await TestNode.with { node in
                var times: [Duration] = []
                for _ in 0..<20 {
                    let spec = node.project()
                    let clock = ContinuousClock()
                    times.append(try await clock.measure { _ = try await node.manager.ensure(spec) })
                    try await node.manager.delete(spec.project)
                }
                times.sort()
                let median = times[times.count / 2]
                print("new project: fastest \(times[0]), median \(median), slowest \(times[times.count - 1])")
                #expect(median < .milliseconds(100), "\(times)")
            }
        }
    }
}
