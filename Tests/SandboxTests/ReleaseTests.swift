import FastableCore
import Foundation
import NodeFiles
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    /// Files that are saved elsewhere go, and nothing else does.
    @Suite(.serialized) struct Release {
        private static func rested(_ node: TestNode) async throws -> (ContainerSpec, ProjectRelease) {
            let spec = node.project()
            try await node.sh(spec, "echo text > file; mkdir deep; echo more > deep/file")
            await node.manager.stop(spec.project, reason: "It was asked for.")
            return (spec, try await release(node, spec))
        }

        /// What a controller that has just saved everything would say.
        private static func release(_ node: TestNode, _ spec: ContainerSpec) async throws -> ProjectRelease {
            let path = try await node.manager.volume(of: spec.project).paths.workspace
            let restingSince = try #require(await node.manager.status(spec.project)?.restingSince)
            return ProjectRelease(
                project: spec.project, stay: spec.stay ?? 0,
                saved: .init(fingerprint: try WorkspaceFingerprint.of(path), restingSince: restingSince))
        }

        private static func directory(_ node: TestNode, _ spec: ContainerSpec) -> String {
            node.configuration.paths.project(spec.project).directory
        }

        @Test func whatRestsIsGivenUp() async throws {
            try await TestNode.with { node in
                let (spec, release) = try await Self.rested(node)
                try await node.manager.release(release)
                #expect(!FileManager.default.fileExists(atPath: Self.directory(node, spec)))
                #expect(await node.manager.status(spec.project) == nil)
                // A call that was on its way makes nothing anew, and asking twice is fine.
                try await node.manager.release(release)
                await expectFailure(.unavailable) { _ = try await node.manager.ensure(spec) }
                await expectFailure(.unavailable) { _ = try await node.manager.volume(spec) }
                await expectFailure(.unavailable) { _ = try await node.manager.volume(of: spec.project) }
                var next = spec
                next.stay = 1
                #expect(try await node.sh(next, "ls -A").out == "", "it begins anew")
                // The release of an earlier stay has nothing to do with this one.
                await node.manager.stop(spec.project, reason: "It was asked for.")
                await expectFailure(.conflict) { try await node.manager.release(release) }
                #expect(FileManager.default.fileExists(atPath: Self.directory(node, spec)))
            }
        }

        @Test func whatIsUsedStays() async throws {
            try await TestNode.with { node in
                let (spec, release) = try await Self.rested(node)
                let file = Self.directory(node, spec) + "/workspace/file"
                // Somebody uses its files now.
                let use = try node.manager.usesFiles(of: spec.project)
                await expectFailure(.conflict) { try await node.manager.release(release) }
                use?.end()
                // It changed, although nobody seems to have used it.
                var fresh = try await Self.release(node, spec)
                try "other".write(toFile: file, atomically: true, encoding: .utf8)
                await expectFailure(.conflict) { try await node.manager.release(fresh) }
                // It was used, although nothing seems to have changed.
                fresh = try await Self.release(node, spec)
                try await Task.sleep(for: .milliseconds(1100))
                try node.manager.usesFiles(of: spec.project)
                await expectFailure(.conflict) { try await node.manager.release(fresh) }
                // It has a container.
                try await node.sh(spec, "true")
                #expect(await node.manager.status(spec.project)?.restingSince == nil)
                await expectFailure(.conflict) { try await node.manager.release(fresh) }
                #expect(try String(contentsOfFile: file, encoding: .utf8) == "other")
                #expect(try await node.sh(spec, "cat deep/file").out == "more\n")
            }
        }

        /// Whoever comes while it is being given up is refused, or keeps it from being given up; nothing is lost either way.
        @Test func useAndReleaseAtTheSameTime() async throws {
            try await TestNode.with { node in
                for round in 0..<6 {
                    let (spec, release) = try await Self.rested(node)
                    let manager = node.manager
                    async let given: Void = manager.release(release)
                    try await Task.sleep(for: .milliseconds(round))
                    let used = try? await node.manager.ensure(spec)
                    let isGiven: Bool
                    do {
                        try await given
                        isGiven = true
                    } catch { isGiven = false }
                    #expect(isGiven == (used == nil), "round \(round)")
                    #expect(isGiven != FileManager.default.fileExists(atPath: Self.directory(node, spec)))
                    if !isGiven { #expect(try await node.sh(spec, "cat file").out == "text\n") }
                }
            }
        }

        @Test func aRestartForgetsNoUse() async throws {
            try await TestNode.with { node in
                let (spec, _) = try await Self.rested(node)
                let stopped = try #require(await node.manager.status(spec.project)?.restingSince)
                try await Task.sleep(for: .milliseconds(1100))
                try node.manager.usesFiles(of: spec.project)
                let used = try #require(await node.manager.status(spec.project)?.restingSince)
                #expect(used > stopped)
                await node.manager.sweep()
                let record = Self.directory(node, spec) + "/record.json"
                try await eventually("the use is on the disk") {
                    try String(contentsOfFile: record, encoding: .utf8).contains("filesUsedAt")
                }
                try await node.restart()
                let kept = try #require(await node.manager.status(spec.project)?.restingSince)
                #expect(Int(kept.timeIntervalSince1970) == Int(used.timeIntervalSince1970))
                // Saved before the restart, given up after it.
                let release = try await Self.release(node, spec)
                try await node.restart()
                try await node.manager.release(release)
                #expect(!FileManager.default.fileExists(atPath: Self.directory(node, spec)))
            }
        }

        @Test func olderSettingsChangeNothing() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "true")
                let project = spec.project
                func idle() async throws -> Int? { try await node.manager.explain(project).policy.idleSeconds }
                try await node.manager.setSettings(
                    ContainerPolicy(project: project, policy: LifecyclePolicy(idleSeconds: 50), revision: 5))
                try await node.manager.setSettings(
                    ContainerPolicy(project: project, policy: LifecyclePolicy(idleSeconds: 40), revision: 4))
                #expect(try await idle() == 50)
                var late = spec
                (late.lifecycle, late.revision) = (LifecyclePolicy(idleSeconds: 30), 3)
                _ = try await node.manager.ensure(late)
                #expect(try await idle() == 50)
                await node.manager.stop(project, reason: "It was asked for.")
                _ = try await node.manager.ensure(late)
                #expect(try await idle() == 50)
                try await node.manager.setSettings(
                    ContainerPolicy(project: project, policy: LifecyclePolicy(idleSeconds: 60), revision: 6))
                #expect(try await idle() == 60)
            }
        }
    }
}
