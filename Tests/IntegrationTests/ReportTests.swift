import ControllerFleet
import FastableCore
import FastableWire
import Foundation
import NodeControl
import Synchronization
import TestSupport
import Testing

@Suite("What a node reports", .endsInTime)
struct ReportTests {
    /// As a node sends them: by project, with the longest reason that there is.
    private static func statuses(_ count: Int) -> [ContainerStatus] {
        (0..<count).map { _ in
            ContainerStatus(
                project: ProjectID(), state: .failed, container: ContainerID(), image: "vibn-dev", startedAt: nil,
                reason: String(repeating: "ü", count: 5000), limits: ResourceLimits(), runningExecs: 0)
        }.sorted { $0.project < $1.project }
    }

    @Test func aThousandContainersTravelInPartsAndArriveWhole() async throws {
        let all = Self.statuses(Limits.projectsPerNode)
        try await TestController.with { controller in
            let node = try await controller.join()
            try await node.linked(reporter: NodeReporter { NodeReport(facts: TestNode.facts, containers: all) }) {
                try await eventually("two whole reports came") {
                    controller.fleet.reports.count { !$0.continues } >= 3
                }
                let seen = try #require(controller.registry.connectedNodes().first).containers
                #expect(seen.map(\.project) == all.map(\.project))
                #expect(seen.map(\.container) == all.map(\.container))
                #expect(seen.allSatisfy { $0.reason.count == Limits.reportReasonCharacters })
                let starts = controller.fleet.reports.indices.filter { !controller.fleet.reports[$0].continues }
                let first = controller.fleet.reports[starts[0]..<starts[1]]
                #expect(first.count == Limits.projectsPerNode / Limits.containersPerReport)
                for part in first {
                    #expect(part.containers.count == Limits.containersPerReport)
                    #expect(try JSON.encode(part).count < Limits.controlMessageBytes)
                }
                #expect(first.flatMap(\.containers).map(\.project) == all.map(\.project))
            }
        }
    }

    /// Somebody who looks at any moment sees the node's containers and not the first hundred of them, also when the node has reasons
    /// to report at the same time.
    @Test func aReportThatIsUnderWayIsNotSeen() async throws {
        let many = Self.statuses(Limits.projectsPerNode)
        let few = Array(many.prefix(3))
        let current = Mutex(many)
        try await TestController.with { controller in
            let node = try await controller.join()
            let reporter = NodeReporter {
                NodeReport(facts: TestNode.facts, containers: current.withLock { $0 })
            }
            try await node.linked(reporter: reporter) {
                func count() -> Int? { controller.registry.connectedNodes().first?.containers.count }
                try await eventually("all are known") { count() == many.count }
                let parts = controller.fleet.reports.count
                for _ in 0..<3 { Task { await reporter.reportNow() } }
                while controller.fleet.reports.count < parts + 40 {
                    #expect(count() == many.count)
                    try await Task.sleep(for: .microseconds(200))
                }
                current.withLock { $0 = few }
                try await eventually("the others are gone") { count() == few.count }
                current.withLock { $0 = [] }
                try await eventually("all are gone") { count() == 0 }
            }
        }
    }
}
