import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Users of a container, whose files are written by whoever is root in it.
@Suite struct AccountFilesTests {
    private static func files(_ users: String, _ groups: String = "") -> AccountFiles {
        AccountFiles(users: .bytes(Array(users.utf8)), groups: .bytes(Array(groups.utf8)))
    }

    private static let usual = files(
        "root:x:0:0:root:/root:/bin/bash\nnode:x:1000:1001:,,,:/home/node:/bin/zsh\n",
        "root:x:0:\nnode:x:1001:\nwheel:x:10:root,node\naudio:x:29:node\nnone:x:30:nodes,no\nown:x:1001:node\n")

    private func resolve(_ name: String, in files: AccountFiles = Self.usual) throws -> ContainerAccount {
        try files.resolve(try ExecUserName(name))
    }

    @Test func namesAndIdsAreFound() throws {
        let node = try resolve("node")
        #expect(node.user == ExecUser(uid: 1000, gid: 1001, groups: [10, 29]))
        #expect(
            node.environment == ["HOME": "/home/node", "SHELL": "/bin/zsh", "USER": "node", "LOGNAME": "node"])
        #expect(try resolve("1000") == node)
        // A group that is named is the only one.
        let named = try resolve("1000:0")
        #expect(named.user == ExecUser(uid: 1000, gid: 0) && named.environment == node.environment)
        // Whom nobody knows does not get root's group.
        let unknown = try resolve("4711")
        #expect(unknown.user == ExecUser(uid: 4711, gid: 4711) && unknown.environment == ["HOME": "/"])
        let error = expectFailure(.unprocessable, "‘nobody’") { _ = try resolve("nobody") }
        #expect(error?.details["field"] == "user")
    }

    @Test(arguments: [
        "", ":", "1:", ":1", "1:2:3", "a:b", "root:0", "0:root", "65536", "65536:0", "0:65536", "4294967295", "-1",
        "+1",
        "99999999999999999999", "no\u{0}de", "no\nde", "node\nroot:x:0:0::/:/bin/sh", "a b", "../etc", "é", "١",
        String(repeating: "a", count: 65),
    ])
    func whatIsNoUserIsRefused(name: String) {
        let error = expectFailure(.unprocessable, "user") { _ = try ExecUserName(name) }
        #expect(error?.details["field"] == "user")
    }

    @Test(arguments: ["65536:0", "0:65536", "4294967295:4294967295", "-1:0", ":", "0x0:0", " 0:0", "٠:0", "1e3:0"])
    func idsThatNoContainerHasAreRefused(ids: String) {
        expectFailure(.unprocessable, "evil") { _ = try resolve("evil", in: Self.files("evil:x:\(ids)::/:/bin/sh\n")) }
    }

    @Test func aNumberIsNeverTheNameOfSomebodyElse() throws {
        let files = Self.files("1000:x:0:0::/root:/bin/sh\n", "wheel:x:10:1000\n")
        #expect(try resolve("1000", in: files).user == ExecUser(uid: 1000, gid: 1000))
    }

    @Test func onlyWellFormedLinesCount() throws {
        let text = "node:x:1:1::/\nnode:x:2:2::/:/bin/sh:more\n\n::::::\nnode:x:3:3::relative:\u{0}\nnode:x:4:4::/:/\n"
        let account = try resolve("node", in: Self.files(text, "a:x:7\nb:x:65536:node\nc:x:9:node:\nd:x:8:node\n"))
        #expect(account.user == ExecUser(uid: 3, gid: 3, groups: [8]))
        #expect(account.environment["HOME"] == "/" && account.environment["SHELL"] == "/bin/sh")
    }

    @Test func moreGroupsThanAProcessMayHaveAreToldAndNotDropped() throws {
        let lines = (1...Limits.execGroups + 1).map { "g\($0):x:\($0):node\n" }.joined()
        expectFailure(.unprocessable, "groups") {
            _ = try resolve("node", in: Self.files("node:x:1000:1000::/:/bin/sh\n", lines))
        }
    }

    @Test func withoutUsableFilesIdsStillDo() throws {
        let files = AccountFiles(users: .unusable("etc/passwd", "is large"), groups: .bytes([]))
        for name in ["root", "0"] { expectFailure(.unprocessable, "is large") { _ = try resolve(name, in: files) } }
        #expect(try resolve("5:6", in: files).user == ExecUser(uid: 5, gid: 6))
    }
}

extension ContainerTests {
    @Suite(.serialized) struct Users {
        private func run(
            _ node: TestNode, _ spec: ContainerSpec, as user: String?, _ script: String, terminal: Bool = false
        ) async throws -> TestNode.Output {
            let container = try await node.manager.ensure(spec)
            let account = try await container.account(user)
            let command = ExecCommand(
                arguments: ["/bin/sh", "-c", script],
                environment: account.environment.merging(["PATH": "/bin"]) { $1 }, timeoutMilliseconds: 600_000,
                takesInput: terminal, terminal: terminal ? TerminalSize(rows: 24, columns: 80) : nil)
            let session = try await container.execs.start(
                exec: ExecID(), container: container.id, command: command, user: account.user)
            return try await TestNode.collect(session)
        }

        @Test func aUserHasItsOwnRightsAndNoMore() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(
                    spec, "echo 'wheel:x:10:user' > /etc/group; mkdir /shut /own; chmod 700 /shut; chown user /own")
                let script = """
                    id -u; id -g; id -G; echo $HOME $USER; grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status
                    echo x > /own/file && stat -c %u:%g /own/file
                    cat /proc/1/environ; echo y > /etc/image; ls /shut; kill 1; chown 0 /own/file
                    echo out > /dev/stdout; echo err > /dev/stderr
                    """
                let done = try await run(node, spec, as: "user", script)
                let none = "0000000000000000"
                #expect(
                    done.out.replacing("\t", with: " ") == """
                        1000
                        1000
                        1000 10
                        / user
                        CapInh: \(none)
                        CapPrm: \(none)
                        CapEff: \(none)
                        CapAmb: \(none)
                        NoNewPrivs: 1
                        1000:1000
                        out

                        """)
                #expect(done.err.hasSuffix("err\n"))
                #expect(done.err.split(separator: "\n").count == 6, "each of five attempts failed: \(done.err)")
                #expect(try await node.sh(spec, "cat /etc/image").out == "tiny\n")
                // What root has set to be run as root is not.
                try await node.sh(spec, "cp() { cat $1 > $2; }; cp /bin/busybox /own/busybox; chmod 4755 /own/busybox")
                #expect(try await run(node, spec, as: "user", "/own/busybox id -u").out == "1000\n")
            }
        }

        @Test func aTerminalIsTheUsersOwn() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let done = try await run(
                    node, spec, as: "1000:7", "id -u; id -G; echo by name > /proc/self/fd/1", terminal: true)
                #expect(done.out == "1000\r\n7\r\nby name\r\n", "\(done)")
            }
        }

        @Test func aDirectoryThatTheUserMayNotEnterStaysClosed() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                try await node.sh(spec, "mkdir /shut; chmod 700 /shut; echo secret > /shut/file; chmod 644 /shut/file")
                let container = try await node.manager.ensure(spec)
                let command = ExecCommand(arguments: ["/bin/cat", "file"], workingDirectory: "/shut")
                let session = try await container.execs.start(
                    exec: ExecID(), container: container.id, command: command, user: ExecUser(uid: 1000, gid: 1000))
                let done = try await TestNode.collect(session)
                #expect(done.status == 126 && done.out.isEmpty && done.err.contains("‘/shut’"))
            }
        }

        /// The number -1 means to a process that it stays who it is: root.
        @Test func idsOutsideOfTheContainerAreRefused() async throws {
            try await TestNode.with { node in
                let container = try await node.manager.ensure(node.project())
                for (uid, gid, groups) in [
                    (UInt32.max, 0, []), (0, .max, []), (65_536, 0, []), (0, 65_536, []), (1, 1, [.max]),
                ] as [(UInt32, UInt32, [UInt32])] {
                    let user = ExecUser(uid: uid, gid: gid, groups: groups)
                    await expectFailure(.unprocessable) {
                        _ = try await container.execs.start(
                            exec: ExecID(), container: container.id, command: ExecCommand(arguments: ["/bin/id"]),
                            user: user)
                    }
                }
            }
        }

        @Test func hostileAccountFilesLeadNowhere() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let refused: [(script: String, words: String)] = [
                    // The host has a user ‘daemon’; the container has none.
                    ("rm /etc/passwd; ln -s /proc/1/root/etc/passwd /etc/passwd", "symbolic link"),
                    ("rm -f /etc/passwd; ln -s ../../../../etc/passwd /etc/passwd", "symbolic link"),
                    ("rm -f /etc/passwd; mknod /etc/passwd p", "regular file"),
                    ("rm -f /etc/passwd; mkdir /etc/passwd", "regular file"),
                    ("rmdir /etc/passwd; dd if=/dev/zero of=/etc/passwd bs=1048577 count=1", "larger than"),
                    ("dd if=/dev/zero of=/etc/passwd bs=1 count=1 seek=9999999999", "larger than"),
                    ("echo daemon:x:65536:0::/:/bin/sh > /etc/passwd", "numbers below"),
                    ("echo daemon:x:4294967295:0::/:/bin/sh > /etc/passwd", "numbers below"),
                    ("rm /etc/passwd", "no user"),
                    (
                        "echo daemon:x:1:1::/:/bin/sh > /etc/passwd; rm -f /etc/group; mknod /etc/group p",
                        "regular file"
                    ),
                ]
                for attack in refused {
                    try await node.sh(spec, attack.script)
                    let container = try await node.manager.ensure(spec)
                    let error = await expectFailure(.unprocessable) { _ = try await container.account("daemon") }
                    #expect(error?.message.contains(attack.words) == true, "\(attack): \(error?.message ?? "")")
                    // Root still comes in, and by number anybody.
                    let ids = "grep -E '^(Uid|Gid)' /proc/self/status"
                    #expect(try await run(node, spec, as: nil, ids).out == "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
                    #expect(try await run(node, spec, as: "5:6", ids).out == "Uid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\n")
                }
            }
        }
    }
}
