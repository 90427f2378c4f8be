import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import NodeSandbox
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Searches {
        private static func files(_ node: TestNode, _ spec: ContainerSpec) async throws -> FileService {
            let volume = try await node.manager.volume(spec)
            let manager = node.manager
            return try FileService(root: volume.paths.workspace, uidBase: volume.uidBase) {
                try await manager.searchGroup(of: spec.project)
            }
        }

        /// The project's groups in all trees.
        private static func groups(_ node: TestNode, _ spec: ContainerSpec) -> [String] {
            Leftovers.groups(node.configuration.paths.instance).map { "\($0)/search-\(spec.project)" }
                .filter { access($0, F_OK) == 0 }
        }

        /// The most memory that anything in the group had.
        private static func memoryPeak(_ groups: [String]) -> Int {
            let files = groups.flatMap { [$0 + "/memory.max_usage_in_bytes", $0 + "/memory.peak"] }
            return files.compactMap { path -> Int? in
                guard let bytes = (try? SmallFile.read(path, atMost: 64)).flatMap({ $0 }) else { return nil }
                return Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
            }.max() ?? 0
        }

        @Test func theyRunInAGroupOfTheProject() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                // There is no container yet.
                let files = try await Self.files(node, spec)
                _ = try await files.write(FileWrite(path: "file", content: "needle\n"))
                #expect(try await files.grep(FileGrep(pattern: "needle")).matches.count == 1)
                let groups = Self.groups(node, spec)
                #expect(!groups.isEmpty)
                #expect(Self.memoryPeak(groups) > 100_000)
                // One that runs is left alone, and its searches go on over restarts of the daemon.
                let container = try await node.manager.ensure(spec)
                try await node.restart()
                #expect(try await node.manager.ensure(spec).id == container.id)
                #expect(Self.groups(node, spec) == groups)
                let again = try await Self.files(node, spec)
                #expect(try await again.glob(FileGlob(pattern: "*")).paths == ["file"])

                try await node.manager.delete(spec.project)
                #expect(Self.groups(node, spec).isEmpty)
                let gone = await #expect(throws: FastableError.self) {
                    try await again.grep(FileGrep(pattern: "needle"))
                }
                #expect(gone?.code == .notFound)
            }
        }

        @Test func thoseOfAProjectThatIsGoneAreRemovedAtStart() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                _ = try await node.manager.ensure(spec)
                let root = try #require(Leftovers.groups(node.configuration.paths.instance).first)
                let stale = "\(root)/search-\(ProjectID())"
                mkdir(stale, 0o755)
                try await node.restart()
                #expect(access(stale, F_OK) != 0)
            }
        }
    }
}
