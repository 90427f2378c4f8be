import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Deletion {
        /// A mount is what not even root removes.
        private func withMount(at path: String, _ body: () async throws -> Void) async throws {
            try Errno.check { mkdir(path, 0o755) }
            try await HostCommand("mount", ["-t", "tmpfs", "tmpfs", path]).runChecked("mount")
            do { try await body() } catch {
                try await HostCommand("umount", ["-l", path]).runChecked("unmount")
                throw error
            }
        }

        private func unmountAll(below directory: String) async throws {
            for point in try Mounts.below(directory) {
                try await HostCommand("umount", ["-l", point]).runChecked("unmount")
            }
        }

        @Test func leftoversOfOthersDoNotMatter() async throws {
            try await TestNode.with { node in
                let trash = node.configuration.paths.state + "/trash"
                for path in [trash, trash + "/old"] { mkdir(path, 0o700) }
                try await withMount(at: trash + "/old/stuck") {
                    let spec = node.project()
                    let volume = try await node.manager.volume(spec)
                    try await node.manager.delete(spec.project)
                    #expect(access(volume.paths.directory, F_OK) != 0)
                    #expect(Leftovers.names(trash) == ["old"])
                    // Neither do they keep the node from its start.
                    try await node.restart()
                    #expect(Leftovers.names(trash) == ["old"])
                    #expect(await node.manager.statuses().isEmpty)
                    try await unmountAll(below: trash)
                }
                try await node.restart()
                #expect(Leftovers.names(trash).isEmpty)
            }
        }

        @Test func aProjectWhoseFilesStayDoesNotComeBack() async throws {
            try await TestNode.with { node in
                let trash = node.configuration.paths.state + "/trash"
                let spec = node.project()
                let other = node.project()
                let directory = try await node.manager.volume(spec).paths.directory
                _ = try await node.manager.volume(other)
                try await withMount(at: directory + "/workspace/stuck") {
                    let failure = await #expect(throws: FastableError.self) {
                        try await node.manager.delete(spec.project)
                    }
                    #expect(failure?.code == .internal, "\(String(describing: failure))")
                    // Neither the failure's own record nor a call that comes late makes it anew.
                    #expect(access(directory, F_OK) != 0)
                    #expect(await node.manager.status(spec.project)?.state == .failed)
                    for attempt in [
                        { _ = try await node.manager.ensure(spec) }, { _ = try await node.manager.volume(spec) },
                    ] {
                        let refused = await #expect(throws: FastableError.self) { try await attempt() }
                        #expect(refused?.code == .conflict)
                    }
                    #expect(access(directory, F_OK) != 0)
                    // Another one is deleted beside it.
                    try await node.manager.delete(other.project)
                    try await unmountAll(below: trash)
                    try await node.manager.delete(spec.project)
                }
                #expect(Leftovers.names(trash).isEmpty)
                #expect(await node.manager.statuses().isEmpty)
                #expect(Leftovers.names(node.configuration.paths.projects).isEmpty)
            }
        }

        @Test func writesThatRaceWithTheDeletionLeaveNothing() async throws {
            try await TestNode.with { node in
                let manager = node.manager
                for _ in 0..<20 {
                    let spec = node.project()
                    await withTaskGroup(of: Void.self) { group in
                        for _ in 0..<4 { group.addTask { _ = try? await manager.volume(spec) } }
                        group.addTask { try? await manager.delete(spec.project) }
                        for _ in 0..<4 { group.addTask { _ = try? await manager.volume(spec) } }
                    }
                    let late = await #expect(throws: FastableError.self) { _ = try await manager.volume(spec) }
                    #expect(late?.code == .gone)
                    #expect(access(node.configuration.paths.project(spec.project).directory, F_OK) != 0)
                    #expect(await manager.status(spec.project) == nil)
                }
                #expect(Leftovers.names(node.configuration.paths.projects).isEmpty)
            }
        }
    }
}

@Suite struct RecentSetTests {
    @Test func theOldestAreForgotten() {
        var deleted = RecentSet<ProjectID>(limit: 3)
        let projects = (0..<5).map { _ in ProjectID() }
        for project in projects + projects.suffix(2) { deleted.insert(project) }
        #expect(projects.map { deleted.contains($0) } == [false, false, true, true, true])
    }
}
