import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Prints how long calls take. Not a check: run it with `FASTABLE_MEASURE=1` on a machine that does nothing else.
@Suite(.serialized, .measuresOnDemand)
struct MeasureTests {
    @Test func calls() async throws {
        try await withStore { fixture in
            let store = fixture.store
            let project = try await fixture.add("demo")
            let hash = try #require(TokenHash([UInt8](repeating: 7, count: 32)))
            let token = TokenRecord(
                id: TokenID(), workspace: fixture.workspace, name: "ci", scopes: [.exec], createdAt: moment)
            try await store.createToken(token, hash: hash)
            let event = fixture.event(project: project.id)
            try await measure("audit append") { try await store.appendAudit(event) }
            try await measure("exec record") {
                try await store.recordExec(
                    ExecHandle(
                        id: ExecID(), workspace: fixture.workspace, project: project.id, node: fixture.node,
                        startedAt: moment))
            }
            try await measure("token find") { _ = try await store.findToken(hash: hash, now: moment) }
            try await measure("project find") { _ = try await store.project(.name("demo"), in: fixture.workspace) }
            try await measure("node report") {
                try await store.updateNode(fixture.node, facts: facts(), seenAt: moment)
            }
            let concurrent = try await ContinuousClock().measure {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<9000 { group.addTask { try await store.appendAudit(event) } }
                    try await group.waitForAll()
                }
            }
            print("9000 concurrent audit appends: \(concurrent), \(concurrent / 9000) each")
            let check = try await ContinuousClock().measure { _ = try await store.verifyAudit(expecting: nil) }
            print("audit check of \(try await store.auditHead().sequence) events: \(check)")
        }
    }

    @Test func loadsOfALargeFleet() async throws {
        try await withStore { fixture in
            let store = fixture.store
            for number in 0..<200 {
                let node = NodeRecord(id: NodeID(), name: "big-\(number)", createdAt: moment)
                try await store.createNode(node)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<50 {
                        var project = fixture.project("p-\(number)-\(index)")
                        project.node = node.id
                        let ready = project
                        group.addTask { try await store.createProject(ready) }
                    }
                    try await group.waitForAll()
                }
            }
            // 10,000 is the most of one workspace; a large fleet has ten times as many.
            try await measure("loads of 10000 projects on 200 nodes", count: 200) {
                _ = try await store.nodeLoads(for: fixture.workspace)
            }
        }
    }
}
