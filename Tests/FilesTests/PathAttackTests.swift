import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// Paths that try to lead out of the workspace, each with every operation.
@Suite struct PathAttackTests {
    struct Attack: Sendable, CustomTestStringConvertible {
        var path: String
        var code: FastableError.Code
        /// The last part is a symbolic link: deleting removes the link, which is right.
        var endsInLink = false
        var testDescription: String { path.count < 80 ? path : "\(path.prefix(40))… (\(path.utf8.count) bytes)" }
    }

    static let attacks: [Attack] = [
        // Upwards.
        Attack(path: "..", code: .forbidden),
        Attack(path: "../outside/secret", code: .forbidden),
        Attack(path: "../../../../../../etc/passwd", code: .forbidden),
        Attack(path: "dir/../../outside/secret", code: .forbidden),
        Attack(path: "dir/..", code: .forbidden),
        Attack(path: "./../outside/secret", code: .forbidden),
        Attack(path: "dir/./.././../outside/secret", code: .forbidden),
        Attack(path: "dir//..//..//outside/secret", code: .forbidden),
        Attack(path: "missing/../../outside/secret", code: .forbidden),
        Attack(path: "/workspace/..", code: .forbidden),
        Attack(path: "/workspace/../outside/secret", code: .forbidden),
        Attack(path: "/workspace//../../etc/passwd", code: .forbidden),
        Attack(path: "/workspace/dir/../../../etc/passwd", code: .forbidden),
        // Absolute.
        Attack(path: "/", code: .forbidden),
        Attack(path: "//", code: .forbidden),
        Attack(path: "/etc/passwd", code: .forbidden),
        Attack(path: "//etc/passwd", code: .forbidden),
        Attack(path: "//workspace/file", code: .forbidden),
        Attack(path: "/./workspace/file", code: .forbidden),
        Attack(path: "/workspacex", code: .forbidden),
        Attack(path: "/workspace.evil/secret", code: .forbidden),
        Attack(path: "/WORKSPACE/file", code: .forbidden),
        Attack(path: "/proc/self/environ", code: .forbidden),
        Attack(path: "/proc/self/root/etc/passwd", code: .forbidden),
        Attack(path: "/proc/1/root/etc/passwd", code: .forbidden),
        Attack(path: "/proc/self/fd/0", code: .forbidden),
        Attack(path: "/dev/null", code: .forbidden),
        Attack(path: "/dev/kmsg", code: .forbidden),
        // Symbolic links.
        Attack(path: "to-file", code: .forbidden, endsInLink: true),
        Attack(path: "to-file-relative", code: .forbidden, endsInLink: true),
        Attack(path: "to-directory", code: .forbidden, endsInLink: true),
        Attack(path: "to-directory/secret", code: .forbidden),
        Attack(path: "to-directory/sub/secret", code: .forbidden),
        Attack(path: "to-directory-relative/secret", code: .forbidden),
        Attack(path: "/workspace/to-directory/secret", code: .forbidden),
        Attack(path: "chain-1/secret", code: .forbidden),
        Attack(path: "dir/up/outside/secret", code: .forbidden),
        Attack(path: "to-slash/etc/passwd", code: .forbidden),
        Attack(path: "to-slash", code: .forbidden, endsInLink: true),
        Attack(path: "to-parent/outside/secret", code: .forbidden),
        Attack(path: "to-proc-root/etc/passwd", code: .forbidden),
        Attack(path: "to-proc-cwd", code: .forbidden, endsInLink: true),
        Attack(path: "through-mount-point/secret", code: .forbidden),
        Attack(path: "to-other-mount/secret", code: .forbidden),
        Attack(path: "inside-then-out/secret", code: .forbidden),
        Attack(path: "to-missing-outside", code: .forbidden, endsInLink: true),
        Attack(path: "to-missing-outside-relative", code: .forbidden, endsInLink: true),
        Attack(path: "to-missing-directory/new", code: .forbidden),
        Attack(path: "loop", code: .forbidden, endsInLink: true),
        Attack(path: "ping/file", code: .forbidden),
        Attack(path: "to-cgroup/cgroup.procs", code: .forbidden),
        // No paths at all.
        Attack(path: "", code: .invalid),
        Attack(path: "file\0", code: .invalid),
        Attack(path: "\0../outside/secret", code: .invalid),
        Attack(path: String(repeating: "x", count: 256), code: .invalid),
        Attack(path: String(repeating: "ü", count: 128), code: .invalid),
        Attack(path: String(repeating: "a/", count: 3000), code: .invalid),
        Attack(path: String(repeating: "../", count: 2000) + "etc/passwd", code: .invalid),
    ]

    private static func prepare() throws -> Workspace {
        let workspace = try Workspace()
        try workspace.put("inside\n", "file")
        try workspace.put("inside\n", "dir/file")
        let outside = workspace.outside
        for (name, target) in [
            "to-file": "\(outside)/secret", "to-file-relative": "../outside/secret", "to-directory": outside,
            "to-directory-relative": "../outside", "chain-1": "chain-2", "chain-2": "dir/chain-3",
            "dir/chain-3": "../../outside", "dir/up": "../..", "to-slash": "/", "to-parent": "..",
            "to-proc-root": "/proc/self/root", "to-proc-cwd": "/proc/self/cwd",
            "through-mount-point": "/workspace/../outside", "to-other-mount": "/workspace-of-others",
            "inside-then-out": "/workspace/to-directory", "to-missing-outside": "\(outside)/new",
            "to-missing-outside-relative": "../outside/new", "to-missing-directory": "../outside/new-directory",
            "loop": "loop", "ping": "pong", "pong": "ping", "to-cgroup": "/sys/fs/cgroup",
        ] { try workspace.link(target, name) }
        return workspace
    }

    @Test func thereAreEnoughAttacks() { #expect(Self.attacks.count >= 40) }

    @Test(arguments: attacks) func everyOperationRefuses(_ attack: Attack) async throws {
        let workspace = try Self.prepare()
        let before = try workspace.outsideState()
        let namesBefore = try workspace.names()
        let path = attack.path
        for attempt in Attempt.all + (attack.endsInLink ? [] : Attempt.onTheEntry) {
            let error = try await expectError { try await attempt.run(workspace.service, path) }
            #expect(error.code == attack.code, "\(attempt.name): \(error)")
            #expect(!error.message.contains(Workspace.canary))
            #expect(!error.message.contains(workspace.base) || path.contains(workspace.base))
        }
        #expect(try workspace.outsideState() == before)
        #expect(try workspace.names() == namesBefore)
    }

    /// What the node stages is nobody's to name, whoever has made it.
    @Test func theNamesOfStagedTreesAreRefused() async throws {
        let workspace = try Workspace()
        let service = workspace.service
        let name = ".fastable-push-0123456789abcdef"
        for file in ["file", "dir/file", "\(name)/tree/file"] { try workspace.put("inside\n", file) }
        let before = try workspace.names()
        for path in [name, "./\(name)/", "/workspace/\(name)", "\(name)/tree", "\(name)/tree/file", "\(name)/new"] {
            for attempt in Attempt.all + Attempt.onTheEntry {
                let error = try await expectError { try await attempt.run(service, path) }
                #expect(error.code == .unprocessable && error.message.contains(name), "\(attempt.name): \(error)")
            }
        }
        #expect(try workspace.names() == before)
        #expect(try workspace.text("\(name)/tree/file") == "inside\n")
        for path in ["dir/\(name)", "\(name)0", ".fastable-push-0123456789abcdeX"] {
            _ = try await service.write(FileWrite(path: path, content: "mine"))
            #expect(try await service.read(FileRead(path: path)).text == "mine")
        }
    }

    @Test func movesAndCopiesTakeLinksAsLinks() async throws {
        let workspace = try Self.prepare()
        let before = try workspace.outsideState()
        let service = workspace.service
        for (index, attack) in Self.attacks.filter(\.endsInLink).enumerated() {
            let target = try await service.stat(FileStat(path: attack.path)).symlinkTarget
            _ = try await service.copy(FileCopy(from: attack.path, to: "copy-\(index)", recursive: true))
            _ = try await service.move(FileMove(from: attack.path, to: "moved-\(index)"))
            for name in ["copy-\(index)", "moved-\(index)"] {
                let stat = try await service.stat(FileStat(path: name))
                #expect(stat.kind == .symlink && stat.symlinkTarget == target)
            }
            // Whoever writes over a link replaces the link.
            _ = try await service.copy(FileCopy(from: "file", to: "copy-\(index)", overwrite: true))
            try workspace.put("moved\n", "source")
            _ = try await service.move(FileMove(from: "source", to: "moved-\(index)", overwrite: true))
            #expect(try workspace.status("copy-\(index)").kind == .regular)
            #expect(try workspace.text("moved-\(index)") == "moved\n")
        }
        // A tree with links out of it takes them along, and nothing that they lead to.
        try workspace.link(workspace.outside, "dir/out")
        let copied = try await service.copy(FileCopy(from: "dir", to: "dir-copy", recursive: true))
        #expect(copied.sizeBytes == 7)
        #expect(try workspace.status("dir-copy/out").kind == .symlink)
        #expect(try workspace.outsideState() == before)
    }

    @Test func hostPathsOfTheWorkspaceAreAbsolutePathsToo() async throws {
        let workspace = try Self.prepare()
        for path in [workspace.path, workspace.path + "/file", workspace.outside + "/secret"] {
            let error = try await expectError { try await workspace.service.read(FileRead(path: path)) }
            #expect(error.code == .forbidden)
        }
    }

    @Test func deletingALinkLeavesItsTarget() async throws {
        let workspace = try Self.prepare()
        let before = try workspace.outsideState()
        for attack in Self.attacks where attack.endsInLink {
            let result = try await workspace.service.delete(FileDelete(path: attack.path, recursive: true))
            #expect(result.removed == 1)
            #expect(!workspace.exists(attack.path))
        }
        #expect(try workspace.outsideState() == before)
    }

    @Test func deletingATreeDoesNotFollowItsLinks() async throws {
        let workspace = try Self.prepare()
        let before = try workspace.outsideState()
        try workspace.link(workspace.outside, "dir/out")
        try workspace.link("../../outside", "dir/deep/out")
        _ = try await workspace.service.delete(FileDelete(path: "dir", recursive: true))
        #expect(!workspace.exists("dir"))
        #expect(try workspace.outsideState() == before)
    }

    @Test func specialFilesDoNotHoldAnyoneUp() async throws {
        let workspace = try Workspace()
        try Errno.check { mkfifo(workspace.path + "/fifo", 0o666) }
        if Workspace.isRoot { try Errno.check { mknod(workspace.path + "/zero", S_IFCHR | 0o666, 0x105) } }
        for name in ["fifo"] + (Workspace.isRoot ? ["zero"] : []) {
            let service = workspace.service
            let attempts: [() async throws -> Void] = [
                { _ = try await service.read(FileRead(path: name)) },
                { _ = try await service.write(FileWrite(path: name, content: "x")) },
                { _ = try await service.edit(FileEdit(path: name, edits: [.init(oldString: "a", newString: "b")])) },
                { _ = try await service.download(FileDownload(path: name)) },
                { _ = try await service.upload(FileUpload(path: name)).finish() },
                { _ = try await service.grep(FileGrep(pattern: "x", path: name)) },
            ]
            for attempt in attempts {
                let error = try await expectError { try await attempt() }
                #expect(error.code == .unprocessable, "\(error)")
            }
            #expect(try workspace.status(name).kind == .other)
        }
    }

    @Test func linksInsideAreFollowed() async throws {
        let workspace = try Workspace()
        try workspace.put("one\n", "src/file")
        try workspace.link("src", "relative")
        try workspace.link("/workspace/src", "absolute")
        try workspace.link("../absolute/file", "links/to-file")
        try workspace.link("/workspace/links/to-file", "far")
        for path in ["relative/file", "absolute/file", "links/to-file", "far", "/workspace/far"] {
            #expect(try await workspace.service.read(FileRead(path: path)).text == "one\n")
        }
        // Writing goes to the file that the link leads to, and the link stays.
        _ = try await workspace.service.write(FileWrite(path: "far", content: "two\n"))
        #expect(try workspace.text("src/file") == "two\n")
        #expect(try workspace.status("far").kind == .symlink)
        _ = try await workspace.service.write(FileWrite(path: "absolute/new", content: "x"))
        #expect(try workspace.text("src/new") == "x")
        // A link to what is still missing makes it there.
        try workspace.link("/workspace/src/later", "dangling")
        _ = try await workspace.service.write(FileWrite(path: "dangling", content: "y"))
        #expect(try workspace.text("src/later") == "y")
    }
}
