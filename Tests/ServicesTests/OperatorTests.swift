import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Nodes, images and the controller's status.
@Suite(.endsInTime) struct OperatorTests {
    @Test func nodesAreListedWithTheirState() async throws {
        try await World.with(nodes: 2) { world, nodes in
            world.directory.drop(nodes[1].id)
            try await world.run("nodes_cordon", ["node": "node-1"])
            let listed = try await world.run("nodes_list")["nodes"]?.array ?? []
            #expect(listed.map { $0["name"] } == ["node-1", "node-2"])
            #expect(listed.map { $0["state"] } == ["cordoned", "offline"])
            #expect(listed[0]["cgroup"] == "v2")
            #expect(listed[0]["runtime"] == "runc 1.1.5")
            let shown = try await world.run("nodes_uncordon", ["node": .string(nodes[0].id.description)])
            #expect(shown["state"] == "ready")
            #expect(shown["facts"]?["cpus"] == 4)
            let error = await expectFailure(.notFound) { try await world.run("nodes_get", ["node": "node-9"]) }
            #expect(error?.message.contains("node-9") == true)
        }
    }

    @Test func aNodeWithProjectsIsRemovedOnlyByForce() async throws {
        try await World.with { world, nodes in
            try await world.project()
            try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            let error = await expectFailure(.conflict) { try await world.run("nodes_remove", ["node": "node-1"]) }
            #expect(error?.details["projects"] == 1)
            #expect(world.directory.disconnected.isEmpty)
            try await world.run("nodes_remove", ["node": "node-1", "force": true])
            #expect(world.directory.disconnected == [nodes[0].id])
            let gone = await expectFailure(.gone) {
                try await world.run("shell.exec", ["project": "shop", "cmd": "true"])
            }
            #expect(gone?.message.contains("node-1") == true)
            await expectFailure(.gone) { try await world.run("projects_delete", ["project": "shop"]) }
            #expect(try await world.run("projects_delete", ["project": "shop", "force": true])["pending"] == false)
        }
    }

    @Test func anImageIsAddedToAllNodesAndUsableAtOnce() async throws {
        try await World.with(nodes: 2) { world, nodes in
            for node in nodes {
                node.reply(.imageAdd) { (image: ImageAdd) in
                    ImageInfo(name: image.name, source: image.source, sizeBytes: 5, addedAt: Date(milliseconds: 0))
                }
                node.reply(.imageRemove) { (_: ImageName) in Empty() }
            }
            await expectFailure(.unprocessable) {
                try await world.run("projects_create", ["name": "a", "image": "mine"])
            }
            let added = try await world.run("images_add", ["name": "mine", "source": "dir:/srv/x"])
            #expect(added["images"]?.array?.map { $0["node"] } == ["node-1", "node-2"])
            // The nodes have not reported since.
            try await world.run("projects_create", ["name": "a", "image": "mine"])
            try await world.run("shell.exec", ["project": "a", "cmd": "true"])
            #expect(try await world.run("images_remove", ["name": "mine", "node": "node-1"])["nodes"] == ["node-1"])
            await expectFailure(.unprocessable) {
                try await world.run("images_add", ["name": "../x", "source": "dir:/srv/x"])
            }
        }
    }

    @Test func imagesAreListedAndErrorsNameTheirNode() async throws {
        try await World.with(nodes: 3) { world, nodes in
            let date = Date(milliseconds: 0)
            for (index, node) in nodes.prefix(2).enumerated() {
                node.reply(.imageList) { (_: Empty) in
                    ImageListResult(images: [
                        ImageInfo(name: "i\(index)", source: "dir:/x", sizeBytes: 1, addedAt: date)
                    ])
                }
            }
            world.directory.drop(nodes[2].id)
            let listed = try await world.run("images_list")
            #expect(listed["images"]?.array?.map { $0["name"] } == ["i0", "i1"])
            #expect(listed["offline"] == ["node-3"])
            await expectFailure(.unavailable) { try await world.run("images_list", ["node": "node-3"]) }
            nodes[0].handle(.imageAdd) { _, _ in throw FastableError(.unprocessable, "No such directory.") }
            let error = await expectFailure(.unprocessable) {
                try await world.run("images_add", ["name": "x", "source": "dir:/none", "node": "node-1"])
            }
            #expect(error?.message == "On the node ‘node-1’: No such directory.")
            nodes[0].handle(.imageRemove) { _, _ in throw FastableError(.notFound, "No.") }
            nodes[1].handle(.imageRemove) { _, _ in throw FastableError(.notFound, "No.") }
            await expectFailure(.notFound) { try await world.run("images_remove", ["name": "x"]) }
        }
    }

    @Test func theStatusTellsWhatTheCommandLineNeeds() async throws {
        try await World.with { world, _ in
            try await world.project()
            let status = try await world.run("status")
            #expect(status["apiUrl"] == "http://127.0.0.1:7420")
            #expect(status["mcpUrl"] == "http://127.0.0.1:7420/api/mcp")
            #expect(status["tokenFile"] == .string(world.folder + "/token"))
            #expect(status["nodeListener"] == "127.0.0.1:7421")
            #expect(status["version"] == .string(Version.text))
            #expect(status["projects"] == 1)
            #expect(status["nodes"]?.array?.first?["name"] == "node-1")
            let listener = try #require(HostPort("127.0.0.1:9999"))
            world.services.setEndpoints(.init(apiURL: "http://127.0.0.1:8888", nodeListener: listener))
            #expect(try await world.run("status")["apiUrl"] == "http://127.0.0.1:8888")
        }
    }

    @Test func reportsAreStoredNowAndThen() async throws {
        try await World.with { world, nodes in
            var facts = World.facts()
            facts.diskFreeBytes = 12345
            await world.services.fleet.nodeReported(nodes[0].id, report: NodeReport(facts: facts, containers: []))
            // The connection was a moment ago: this report is not worth a write.
            let before = try await world.store.node(.id(nodes[0].id)).facts
            #expect(before?.diskFreeBytes != 12345)
            await world.services.fleet.nodeDisconnected(nodes[0].id)
            await world.services.fleet.nodeReported(nodes[0].id, report: NodeReport(facts: facts, containers: []))
            let after = try await world.store.node(.id(nodes[0].id)).facts
            #expect(after?.diskFreeBytes == 12345)
        }
    }
}
