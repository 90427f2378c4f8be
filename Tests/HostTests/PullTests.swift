import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

/// An image that one node got from a registry, and that others pull when they need it: with everything real.
@Suite(
    "Pull", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"),
    .enabled(if: TestRegistry.missing == nil, "\(TestRegistry.missing ?? "")"))
struct PullTests {
    private static let noiseBytes = 8 << 20

    /// Two nodes, of which the first was given the image ‘far’.
    private static func with(_ body: (Installation, TestRegistry) async throws -> Void) async throws {
        try await TestRegistry.with { registry in
            try await Installation.with(
                nodes: 2, nodeOptions: ["--images-insecure-registries", registry.address]
            ) { host in
                let rootfs = host.directory.appending(path: "pushed")
                try Rootfs.make(at: rootfs)
                let noise = (0..<noiseBytes / 8).map { _ in UInt64.random(in: .min ... .max) }
                try noise.withUnsafeBytes { Data($0) }.write(to: rootfs.appending(path: "noise"))
                let source = try await registry.push(rootfs.path, as: "team/far:1")
                let added = try await host.tool(
                    "images_add",
                    ["name": "far", "source": .string(source), "node": .string(host.nodeName(0))])
                #expect(added["images"]?.array?.first?["digest"]?.string?.hasPrefix("sha256:") == true)
                try await body(host, registry)
            }
        }
    }

    private static func images(_ host: Installation, _ node: Int) async throws -> [String] {
        let listed = try await host.tool("images_list", ["node": .string(host.nodeName(node))])
        return (listed["images"]?.array ?? []).compactMap { $0["name"]?.string }.sorted()
    }

    private static func start(_ host: Installation, _ project: String) async throws -> JSONValue? {
        try await host.tool("devcontainer.status", ["project": .string(project)])["start"]
    }

    /// The second node has only the bytes' name. Its first start tells what it does, and a drain brings projects where the image was not.
    @Test(.endsInTime) func theFirstStartOnAnotherNodePullsTheImage() async throws {
        try await Self.with { host, registry in
            try await host.tool("nodes_cordon", ["node": .string(host.nodeName(0))])
            try await host.tool("projects_create", ["name": "p", "image": "far"])
            #expect(try await Self.images(host, 1) == ["vibn-dev"])
            registry.hold(after: 2 << 20)
            let told = Mutex<[String]>([])
            let running = Task {
                try await host.follow("p", "wc -c < /noise") { line in told.withLock { $0.append(line) } }
            }
            try await eventually("some of it has come") {
                let start = try await Self.start(host, "p")
                return start?["stage"] == "pulling" && (start?["doneBytes"]?.integer ?? 0) > 0
            }
            let shown = try #require(try await Self.start(host, "p"))
            #expect(shown["totalBytes"]?.integer ?? 0 > Int64(Self.noiseBytes), "\(shown)")
            #expect(try await host.cli(["container", "status", "p"]).contains("pulling"))
            #expect(try await host.cli(["container", "explain", "p"]).contains("‘far’ is pulled"))
            try await eventually("who runs the command hears it") {
                told.withLock { $0.joined() }.contains("‘far’ is pulled")
            }
            registry.release()
            try await running.value
            #expect(told.withLock { $0.joined() }.contains("\(Self.noiseBytes)"))
            #expect(try await Self.start(host, "p") == nil)
            #expect(try await Self.images(host, 1) == ["far", "vibn-dev"])
            #expect(try await host.cli(["container", "ensure", "p"]).hasPrefix("running"))
        }
    }

    /// A drain gives projects to a node that lacks the image; `kill -9` amid the pull leaves nothing, and the next start has it.
    @Test(.endsInTime) func aNodeThatDiesAmidAPullBeginsAnew() async throws {
        try await Self.with { host, registry in
            try await host.tool("nodes_cordon", ["node": .string(host.nodeName(1))])
            try await host.tool("projects_create", ["name": "p", "image": "far"])
            #expect(try await host.exec("p", "echo kept > /workspace/file")["exitCode"] == 0)
            try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(1))])
            try await host.cli(["node", "drain", host.nodeName(0), "--wait"])
            registry.hold(after: 1 << 20)
            let cut = Task { try await host.exec("p", "true") }
            try await eventually("it is pulled") { try await Self.start(host, "p")?["stage"] == "pulling" }
            host.killNode(1)
            _ = try? await cut.value
            try await host.startNode(1)
            let images = host.directory.appending(path: "node-1/images").path
            try await eventually("nothing of it is left") {
                let names = (try? FileManager.default.contentsOfDirectory(atPath: images)) ?? []
                return !names.contains { $0.hasPrefix(".") }
            }
            registry.release()
            #expect(
                try await host.exec("p", "cat file; wc -c < /noise")["stdout"] == .string("kept\n\(Self.noiseBytes)\n"))
        }
    }
}
