import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// Things on the host that belong to nothing, of each kind.
    @Suite(.serialized) struct Garbage {
        private static func host(_ tool: String, _ arguments: String...) async throws {
            try await HostCommand(tool, arguments).runChecked("prepare a test")
        }

        private static func mount(at path: String) async throws {
            try await host("mkdir", "-p", path)
            try await host("mount", "-t", "tmpfs", "none", path)
        }

        /// What was planted, and whether it is there.
        private struct Planted {
            var what: String
            var isThere: () async throws -> Bool
        }

        private static func plant(_ node: TestNode, beside live: ContainerID) async throws -> [Planted] {
            let (paths, block) = (node.configuration.paths, node.manager.block)
            let (stray, project) = (ContainerID(), ProjectID())
            let containers = paths.run + "/containers"
            let mounts = [
                "\(containers)/\(stray)/rootfs", "\(containers)/\(live)/lower", paths.state + "/trash/x/disk",
            ]
            for point in mounts { try await mount(at: point) }
            // The second slot is that of a project without a container, the others are nobody's.
            let links = ["1", "3e6", "fff"].map { block.interfacePrefix + $0 }
            for link in links { try await host("ip", "link", "add", link, "type", "veth", "peer", "name", "p" + link) }
            let groups = Leftovers.groups(paths.instance).flatMap { root in
                ["\(stray)", "search-\(project)", "stray"].map { "\(root)/\($0)" }
            }
            for group in groups { mkdir(group, 0o755) }
            let images = [".draft-1", ".removed-1", "nothing"].map { paths.images + "/" + $0 }
            for directory in images { try await host("mkdir", "-p", directory + "/rootfs") }
            let file = "\(paths.projects)/\(project)/disk.img"
            try await host("mkdir", "-p", "\(paths.projects)/\(project)")
            try await host("truncate", "-s", "1M", file)
            try await host("losetup", "-f", file)
            func all(_ what: String, _ names: [String], in found: @escaping () throws -> [String]) -> [Planted] {
                names.map { name in Planted(what: "\(what) \(name)") { try found().contains(name) } }
            }
            let directories = images + ["\(containers)/\(stray)"] + groups
            return all("mount", mounts) { try Mounts.below(paths.run) + Mounts.below(paths.state) }
                + all("link", links) { NetworkTools.interfaces() }
                + all("directory", directories) { directories.filter { access($0, F_OK) == 0 } }
                + all("loop device", [file]) { try LoopVolume.devices(below: paths.projects).map(\.file) }
        }

        @Test func ofEachKindIsFoundWhileTheDaemonRuns() async throws {
            try await TestNode.with { node in
                let live = node.project()
                let container = try await node.manager.ensure(live).id
                let stopped = node.project()
                try await node.sh(stopped, "echo kept > kept")
                await node.manager.stop(stopped.project, reason: "test")
                let operators = node.configuration.paths.state + "/trash/mine"
                try await Self.mount(at: operators)
                let planted = try await Self.plant(node, beside: container)
                // Something may just be being made: one look is not enough.
                await node.manager.sweepGarbage()
                for thing in planted { #expect(try await thing.isThere(), "\(thing.what)") }
                await node.manager.sweepGarbage()
                // The kernel may take a moment for what was given back.
                for thing in planted { try await eventually("\(thing.what) is gone") { try await !thing.isThere() } }

                #expect(try Mounts.below(operators) == [operators], "it is the operator's")
                try await Self.host("umount", operators)
                #expect(try await node.manager.ensure(live).id == container)
                #expect(try await node.sh(live, "ip addr show eth0").out.contains("inet "))
                #expect(try await node.sh(stopped, "cat kept; ip addr show eth0 | grep -c 'inet '").out == "kept\n1\n")
                #expect(try node.manager.images.list().map(\.name) == ["tiny"])
                await node.manager.sweepGarbage()
                await node.manager.sweepGarbage()
                #expect(try await node.sh(stopped, "cat kept").out == "kept\n")
            }
        }

        @Test func rulesThatAreNotOursGo() async throws {
            try await TestNode.with { node in
                let table = "fastable_\(node.configuration.paths.instance)"
                try await Self.host("nft", "add", "rule", "inet", table, "forward", "accept")
                try await Self.host("nft", "add", "chain", "inet", table, "stray")
                try await node.manager.checkNetwork()
                let text = try await HostCommand("nft", ["list", "table", "inet", table]).runChecked("list").text
                #expect(!text.contains("stray"))
                #expect(text.contains("chain forward"))
            }
        }

        @Test func whatComesAndGoesMeanwhileIsNone() async throws {
            try await TestNode.with { node in
                // The host is searched all the time.
                let manager = node.manager
                let sweeping = Task { while !Task.isCancelled { await manager.sweepGarbage() } }
                defer { sweeping.cancel() }
                let spec = node.project()
                for round in 0..<5 {
                    #expect(try await node.sh(spec, "echo \(round)").out == "\(round)\n")
                    await node.manager.stop(spec.project, reason: "test")
                    let other = node.project()
                    #expect(try await node.sh(other, "ip addr show eth0 | grep -c 'inet '").out == "1\n")
                    try await node.manager.delete(other.project)
                    let rootfs = "\(node.directory.path)/image\(round)"
                    try TinyImage.make(at: rootfs)
                    let source = "dir:" + rootfs
                    _ = try await node.manager.images.add(ImageAdd(name: "image\(round)", source: source))
                }
                #expect(try node.manager.images.list().count == 6)
                sweeping.cancel()
                await sweeping.value
            }
        }
    }
}
