import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// A disk that becomes full, and what a node does about it.
    @Suite(.serialized) struct MakingRoom {
        private static let megabyte = 1 << 20
        private static let tomorrow = Date().addingTimeInterval(24 * 3600)

        /// An image that only needs space.
        private static func add(_ name: String, _ source: String, megabytes: Int, _ node: TestNode) async throws {
            let rootfs = node.directory.path + "/" + name
            try TinyImage.make(at: rootfs)
            let file = try FileDescriptor(opening: rootfs + "/usr/big", O_CREAT | O_WRONLY, mode: 0o644)
            try file.writeAll(Array(repeating: 7, count: megabytes * megabyte))
            _ = try await node.manager.images.adopt(rootfs, name: name, source: source)
        }

        private static func images(_ node: TestNode) throws -> [String] { try node.manager.images.list().map(\.name) }

        private static func cache(_ node: TestNode, _ spec: ContainerSpec) async throws -> [String] {
            Leftovers.names(try await node.manager.volume(of: spec.project).paths.cache)
        }

        private static func expectRefusal(_ body: () async throws -> Void) async {
            let error = await #expect(throws: FastableError.self) { try await body() }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("MiB are free") == true, "\(error?.message ?? "")")
        }

        @Test func whatCanBeHadAgainGoesFirstAndNothingElse() async throws {
            let disk = try await SmallDisk(files: 30_000)
            do {
                try await TestNode.with {
                    $0.paths = try NodePaths(
                        instance: $0.paths.instance, state: disk.path + "/s", run: $0.paths.run)
                } _: { node in
                    try await Self.fill(node, disk)
                }
            } catch {
                try await disk.remove()
                throw error
            }
            try await disk.remove()
        }

        private static func fill(_ node: TestNode, _ disk: SmallDisk) async throws {
            try await add("pulled", "docker://registry.example/a:1", megabytes: 80, node)
            try await add("elsewhere", "docker://registry.example/b:1", megabytes: 1, node)
            try await add("used", "docker://registry.example/c:1", megabytes: 1, node)
            try await add("built", "dir:/srv/built", megabytes: 1, node)
            let running = node.project()
            try await node.sh(running, "head -c 5000000 /dev/zero > /cache/big; echo kept > kept")
            var stopped = node.project()
            stopped.image = "used"
            try await node.sh(stopped, "head -c 40000000 /dev/zero > /cache/big; echo kept > kept")
            await node.manager.stop(stopped.project, reason: "test")
            let all = ["built", "elsewhere", "pulled", "tiny", "used"]

            // Nobody has said which images are needed elsewhere: none goes, and caches wait.
            try disk.takeBytes(leaving: 300 * megabyte, in: "first")
            await node.manager.makeRoom(today: tomorrow)
            #expect(node.manager.lookAtDisk() == .reclaiming)
            #expect(try images(node) == all)
            #expect(try await cache(node, stopped) == ["big"])
            // One image is enough.
            node.manager.heard(imagesInUse: ["elsewhere"], asked: .now)
            await node.manager.makeRoom(today: tomorrow)
            #expect(try images(node) == ["built", "elsewhere", "tiny", "used"])
            #expect(try await cache(node, stopped) == ["big"])
            #expect(node.manager.lookAtDisk() < .reclaiming)
            #expect(node.manager.diskReclaimed == DiskReclaimed(images: ["pulled"]))

            // Then the cache of the project that has no container.
            try disk.takeBytes(leaving: 300 * megabyte, in: "second")
            node.manager.heard(imagesInUse: ["elsewhere"], asked: .now)
            await node.manager.makeRoom(today: tomorrow)
            #expect(try images(node) == ["built", "elsewhere", "tiny", "used"])
            #expect(try await cache(node, stopped).isEmpty)
            #expect(try await cache(node, running) == ["big"])
            #expect(node.manager.diskReclaimed == DiskReclaimed(images: ["pulled"], caches: 1))

            try disk.takeBytes(leaving: 200 * megabyte, in: "third")
            try await whileItIsFull(node, running, stopped)
            for name in ["first", "second", "third"] { try await disk.giveBack(name) }
            #expect(node.manager.lookAtDisk() == .none)
            let again = try await node.sh(stopped, "cat kept; ls /cache; echo new > /cache/new; cat /cache/new")
            #expect(again.out == "kept\nnew\n")
            #expect(try await node.sh(running, "cat kept").out == "kept\n")
        }

        private static func whileItIsFull(
            _ node: TestNode, _ running: ContainerSpec, _ stopped: ContainerSpec
        ) async throws {
            await expectRefusal { _ = try await node.manager.ensure(stopped) }
            await expectRefusal { _ = try await node.manager.volume(node.project()) }
            await expectRefusal { try await node.manager.checkSpaceForImage() }
            #expect(node.manager.lookAtDisk() == .refusing)
            // What runs goes on, and files can be read, written and deleted.
            #expect(try await node.sh(running, "echo more > more; cat kept more").out == "kept\nmore\n")
            let volume = try await node.manager.volume(of: stopped.project)
            let files = try FileService(root: volume.paths.workspace, uidBase: volume.uidBase)
            _ = try await files.write(FileWrite(path: "file", content: "new"))
            _ = try await files.delete(FileDelete(path: "file"))
            try await node.manager.suspend(running.project, force: true)
            #expect(try await node.sh(running, "cat kept").out == "kept\n")
        }

        /// A node that always wants more space than there is.
        private static func hungry(_ configuration: inout SandboxConfiguration) {
            configuration.diskPercents = DiskPressurePercents(low: 90, reclaiming: 90, refusing: 0)
        }

        @Test func aCacheOnADiskOfItsOwnGoesAsWell() async throws {
            try await TestNode.with {
                Self.hungry(&$0)
                $0.projectDiskBytes = 128 * Self.megabyte
            } _: { node in
                let spec = node.project()
                try await node.sh(spec, "mkdir /cache/a; echo x > /cache/a/x; echo kept > kept")
                await node.manager.makeRoom()
                #expect(try await Self.cache(node, spec) == ["a"])
                await node.manager.stop(spec.project, reason: "test")
                await node.manager.makeRoom()
                #expect(try await Self.cache(node, spec).isEmpty)
                #expect(try await node.sh(spec, "cat kept; echo y > /cache/y; cat /cache/y").out == "kept\ny\n")
            }
        }

        @Test func startsAndDroppedCachesDoNotMeet() async throws {
            try await TestNode.with(Self.hungry) { node in
                let spec = node.project()
                let manager = node.manager
                for round in 0..<5 {
                    try await node.sh(spec, "echo \(round) > /cache/file; echo \(round) > kept")
                    await node.manager.stop(spec.project, reason: "test")
                    async let room: Void = manager.makeRoom()
                    // Its cache is whole or empty, never half gone, and can be written.
                    let out = try await node.sh(
                        spec, "cat kept /cache/file 2>/tmp/why; echo z > /cache/z && cat /cache/z")
                    await room
                    #expect(["\(round)\nz\n", "\(round)\n\(round)\nz\n"].contains(out.out), "\(out)")
                }
            }
        }
    }
}
