import FastableCore
import Foundation
import NodeSandbox
import Synchronization
import TestSupport
import Testing

extension ContainerTests {
    /// Images that come with the first start, from a real registry, by the real skopeo and umoci.
    @Suite(.serialized, .enabled(if: TestRegistry.missing == nil, "\(TestRegistry.missing ?? "")"))
    struct Pull {
        private static let noiseBytes = 8 << 20

        /// A node beside a registry that has an image of some megabytes, and the reference by which it is had.
        private static func with(
            trusts: Bool = true, _ body: (TestNode, TestRegistry, ImageReference) async throws -> Void
        ) async throws {
            try await TestRegistry.with { registry in
                try await TestNode.with {
                    if trusts { $0.insecureRegistries = [registry.address] }
                } _: { node in
                    let rootfs = node.directory.path + "/pushed"
                    try TinyImage.make(at: rootfs)
                    let noise = (0..<noiseBytes / 8).map { _ in UInt64.random(in: .min ... .max) }
                    try noise.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: rootfs + "/noise"))
                    try Data("pulled\n".utf8).write(to: URL(fileURLWithPath: rootfs + "/etc/image"))
                    let source = try await registry.push(rootfs, as: "team/tiny:1")
                    guard trusts else {
                        return try await body(
                            node, registry,
                            ImageReference(
                                name: "far",
                                source: "\(source.dropLast(2))@sha256:\(String(repeating: "a", count: 64))",
                                namedAt: Date()))
                    }
                    // Another node has it, and tells from where.
                    let info = try await node.manager.images.add(ImageAdd(name: "far", source: source))
                    try await node.manager.removeImage("far")
                    try await body(node, registry, try #require(info.reference))
                }
            }
        }

        private static func project(_ node: TestNode, _ image: ImageReference?) -> ContainerSpec {
            var spec = node.project()
            (spec.image, spec.pull) = ("far", image)
            return spec
        }

        @Test func theFirstStartPullsTheImageAndTellsHowFarItIs() async throws {
            try await Self.with { node, registry, image in
                let (manager, spec) = (node.manager, Self.project(node, image))
                registry.hold(after: 2 << 20)
                let told = Mutex<[StartProgress]>([])
                let start = Task {
                    try await manager.ensure(spec) { progress in told.withLock { $0.append(progress) } }.id
                }
                try await eventually("some of it has come") {
                    guard let start = await manager.status(spec.project)?.start else { return false }
                    return start.stage == .pulling && (start.doneBytes ?? 0) > 0
                }
                let status = try #require(await manager.status(spec.project))
                let progress = try #require(status.start)
                #expect(status.state == .creating && status.reason == progress.message)
                #expect(try #require(progress.totalBytes) > Self.noiseBytes)
                #expect(try #require(progress.fraction) < 1 && progress.message.contains("‘far’ is pulled"))
                let explained = try await manager.explain(spec.project)
                #expect(explained.start?.stage == .pulling && explained.text.contains("MiB have come"))
                #expect(manager.startLoad == StartLoad(running: 0, waiting: 0), "it takes nobody's turn")
                // Others start meanwhile.
                #expect(try await node.sh(node.project(), "cat /etc/image").out == "tiny\n")
                registry.release()
                _ = try await start.value
                #expect(try await node.sh(spec, "cat /etc/image; wc -c < /noise").out == "pulled\n\(Self.noiseBytes)\n")
                #expect(await manager.status(spec.project)?.start == nil)
                #expect(told.withLock { $0.first?.stage } == .pulling)
                #expect(try manager.images.references() == [image])
            }
        }

        @Test func manyStartsShareOnePull() async throws {
            try await Self.with { node, registry, image in
                let manager = node.manager
                let sent = registry.blobsSent.count
                registry.hold(after: 1 << 20)
                let specs = (0..<4).map { _ in Self.project(node, image) }
                let starts = specs.map { spec in Task { try await manager.ensure(spec).id } }
                for spec in specs {
                    try await eventually { await manager.status(spec.project)?.start?.stage == .pulling }
                }
                registry.release()
                for start in starts { _ = try await start.value }
                #expect(registry.blobsSent.count - sent == 2, "one layer and one configuration, once")
            }
        }

        /// Whoever gave up comes back to what has come meanwhile.
        @Test func whoGivesUpFindsTheImageLater() async throws {
            try await Self.with { node, registry, image in
                let (manager, specs) = (node.manager, (0..<2).map { _ in Self.project(node, image) })
                let sent = registry.blobsSent.count
                registry.hold(after: 1 << 20)
                let starts = specs.map { spec in Task { try await manager.ensure(spec).id } }
                for spec in specs {
                    try await eventually { await manager.status(spec.project)?.start?.stage == .pulling }
                }
                starts[0].cancel()
                try await eventually { await manager.status(specs[0].project)?.state == .stopped }
                await manager.stop(specs[1].project, reason: "asked")
                #expect(await manager.status(specs[1].project)?.state == .stopped)
                for start in starts { await #expect(throws: (any Error).self) { try await start.value } }
                #expect(await manager.status(specs[0].project)?.start == nil)
                registry.release()
                #expect(try await node.sh(specs[0], "cat /etc/image").out == "pulled\n")
                #expect(registry.blobsSent.count - sent == 2)
            }
        }

        /// The daemon dies in the middle: the next one removes what has come, and begins anew.
        @Test func aPullThatWasCutShortLeavesNothing() async throws {
            try await Self.with { node, registry, image in
                let spec = Self.project(node, image)
                registry.hold(after: 1 << 20)
                let pulling = Task { [manager = node.manager] in try await manager.ensure(spec).id }
                try await eventually { await node.manager.status(spec.project)?.start?.stage == .pulling }
                try await eventually { Self.drafts(node).count == 1 }
                // What a killed daemon leaves: its successor finds a directory that nobody fills.
                let left = node.configuration.paths.images + "/.draft-killed/layout"
                try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
                try await node.restart()
                #expect(Self.drafts(node).isEmpty)
                registry.release()
                _ = try? await pulling.value
                #expect(try await node.sh(spec, "cat /etc/image").out == "pulled\n")
                try await eventually { Self.drafts(node).isEmpty }
            }
        }

        private static func drafts(_ node: TestNode) -> [String] {
            let names = try? FileManager.default.contentsOfDirectory(atPath: node.configuration.paths.images)
            return (names ?? []).filter { $0.hasPrefix(".") }
        }

        @Test func whatTheRegistrySaysIsTold() async throws {
            try await Self.with { node, registry, image in
                var missing = image
                missing.source = String(image.source.dropLast(64)) + String(repeating: "a", count: 64)
                let spec = Self.project(node, missing)
                let error = try await expectError { try await node.manager.ensure(spec) }
                #expect(error.code == .unavailable && error.message.contains("manifest unknown"), "\(error)")
                #expect(error.message.contains("‘fastable image add’") && !error.message.contains(node.directory.path))
                let status = try #require(await node.manager.status(spec.project))
                #expect(status.state == .failed && status.reason == error.message)
                #expect(Self.drafts(node).isEmpty)
                // Without a reference it is as ever.
                let unknown = try await expectError { try await node.manager.ensure(Self.project(node, nil)) }
                #expect(unknown.code == .notFound)
                // The next start has a better one.
                var mended = spec
                mended.pull = image
                #expect(try await node.sh(mended, "cat /etc/image").out == "pulled\n")
            }
        }

        /// Plain HTTP is spoken to nobody who was not named.
        @Test func aRegistryWithoutTLSIsRefusedUnlessNamed() async throws {
            try await Self.with(trusts: false) { node, registry, image in
                let error = try await expectError { try await node.manager.ensure(Self.project(node, image)) }
                #expect(error.code == .unavailable && error.message.contains("HTTPS client"), "\(error)")
                #expect(!registry.requests.contains { $0.hasPrefix("GET") && $0.contains("manifests") })
            }
        }
    }
}
