import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("fastable fs, push and pull", .serialized, .endsInTime)
struct FileTests {
    @Test func filesGoThereAndBackAsTheyAre() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let contents: [Data] = [
                Data(), Data("text\nwithout an end".utf8), Data("with one\n".utf8), Data([0, 255, 10, 0]),
                FakeExec.stdout.prefix(300_000),
            ]
            for (index, content) in contents.enumerated() {
                try await world.cli(["fs", "write", "shop", "f\(index)"], input: content).requireSuccess()
                #expect(world.node.files["f\(index)"] == content)
                guard index < 4 else { continue }
                #expect(try await world.cli(["fs", "read", "shop", "f\(index)"]).requireSuccess().output == content)
            }
            let again = try await world.cli(["fs", "write", "shop", "f1", "--content", "x"]).requireSuccess()
            #expect(again.text == "Wrote f1, 1 B.\n")
            let part = try await world.cli(["fs", "read", "shop", "f1", "--limit", "1"])
            #expect(part.text == "x")
            #expect(part.errorText.contains("--offset 2"))
        }
    }

    @Test func searchesEditsAndDeletes() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            try await world.cli(["fs", "write", "shop", "app.py", "--content", "a\ndebug = True\n"]).requireSuccess()
            let list = try await world.cli(["fs", "ls", "shop"]).requireSuccess().text
            #expect(list.contains("app.py") && list.contains("0644"))
            let glob = try await world.cli(["fs", "glob", "shop", "*.py"]).requireSuccess()
            #expect(glob.text == "app.py\n")
            #expect(glob.errorText.contains("there are more"))
            let grep = try await world.cli(["fs", "grep", "shop", "debug"]).requireSuccess()
            #expect(grep.text == "app.py:2:debug = True\n")
            #expect(try await world.cli(["fs", "grep", "shop", "nothing"]).requireSuccess().output.isEmpty)

            let edit = ["fs", "edit", "shop", "app.py", "--old", "debug = True", "--new", "debug = False"]
            #expect(try await world.cli(edit).requireSuccess().text.hasPrefix("Replaced 1 in app.py, line 1:"))
            #expect(world.node.files["app.py"] == Data("a\ndebug = False\n".utf8))
            let missing = try await world.cli(edit)
            #expect(missing.status == 1)
            #expect(missing.errorText.hasSuffix("\n  3: debug = true\n  4: next\n"), "\(missing.errorText)")

            // A text may look like an option.
            let dashes = ["fs", "edit", "shop", "app.py", "--old", "debug", "--new", "--debug"]
            try await world.cli(dashes).requireSuccess()
            #expect(world.node.files["app.py"] == Data("a\n--debug = False\n".utf8))

            try await world.cli(["fs", "rm", "shop", "app.py"]).requireSuccess()
            #expect(try await world.cli(["fs", "rm", "shop", "app.py"]).failed(1, saying: "app.py"))
            #expect(try await world.cli(["fs", "read", "shop", "app.py"]).failed(1, saying: "app.py"))
        }
    }

    @Test func severalEditsGoInOneCall() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let file = ["fs", "edit", "shop", "a.txt"]
            try await world.cli(["fs", "write", "shop", "a.txt", "--content", "one two"]).requireSuccess()
            let digest = String(repeating: "a", count: 64)
            let pairs = ["--old", "one", "--new", "1", "--old", "two", "--new", "", "--if-match", digest]
            try await world.cli(file + pairs).requireSuccess()
            #expect(world.node.files["a.txt"] == Data("1 ".utf8))
            #expect(world.node.edits.map(\.ifMatch) == [digest])
            #expect(world.node.edits.first?.edits.map(\.newString) == ["1", ""])

            let list = Data(#"[{"oldString": "1", "newString": "x x"}, {"oldString": "x", "newString": "y"}]"#.utf8)
            try await world.cli(file + ["--edits", "-"], input: list).requireSuccess()
            #expect(world.node.files["a.txt"] == Data("y y ".utf8))
            let path = world.folder + "/edits.json"
            try Data(#"[{"oldString": "y y", "newString": "z", "replaceAll": true}]"#.utf8)
                .write(to: URL(fileURLWithPath: path))
            try await world.cli(file + ["--edits", path]).requireSuccess()
            #expect(world.node.edits.last?.edits.map(\.replaceAll) == [true])
        }
    }

    @Test func wrongEditsSayWhatToWrite() async throws {
        try await CLIWorld.with { world in
            let file = ["fs", "edit", "shop", "a.txt"]
            for (arguments, words) in [
                ([], "for example: fastable fs edit shop a.txt --old"),
                (["--old", "a", "--old", "b", "--new", "c"], "there are 2 and 1"),
                (["--edits", "-", "--old", "a", "--new", "b"], "replaceAll"),
            ] {
                let result = try await world.cli(file + arguments)
                #expect(result.status == 64 && result.errorText.contains(words), "\(arguments): \(result)")
            }
            let noList = try await world.cli(file + ["--edits", "-"], input: Data(#"{"oldString": "a"}"#.utf8))
            #expect(noList.failed(1, saying: "must hold a JSON list like"), "\(noList)")
            #expect(try await world.cli(file + ["--edits", "/nonexistent/edits.json"]).failed(1))
        }
    }

    @Test func namesAndModes() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            try await world.cli(["fs", "write", "shop", "a", "--content", "text"]).requireSuccess()
            let stat = try await world.cli(["fs", "stat", "shop", "a", "--digest"]).requireSuccess().text
            #expect(stat.contains("4 bytes") && stat.contains("0:?") && stat.contains("ab12"), "\(stat)")
            #expect(try await world.cli(["fs", "mkdir", "shop", "d"]).requireSuccess().text == "Made d.\n")
            let again = try await world.cli(["fs", "mkdir", "-p", "shop", "d"]).requireSuccess()
            #expect(again.text == "d exists already.\n")
            let copied = try await world.cli(["fs", "cp", "-r", "shop", "a", "b"]).requireSuccess()
            #expect(copied.text == "Copied 1, 4 B, to b.\n" && copied.errorText.contains("left out 2"))
            #expect(try await world.cli(["fs", "mv", "shop", "a", "b"]).failed(1, saying: "exists already"))
            let moved = try await world.cli(["fs", "mv", "-f", "shop", "a", "b"]).requireSuccess()
            #expect(moved.text == "Moved a to b, which was replaced.\n")
            #expect(Array(world.node.files.keys) == ["b"])
            let mode = try await world.cli(["fs", "chmod", "shop", "755", "b"]).requireSuccess()
            #expect(mode.text == "b has mode 0755.\n")
        }
    }

    @Test func watching() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let changes = "created   src/d/\nmoved     a → b\nrescan    .  (Too fast.)\n"
            let watch = try world.start(["fs", "watch", "shop", "src"])
            // This node's watch ends behind the last of them. Who comes again is told that something may be missing.
            let missed = "rescan    src  (Changes since the last event are not kept.)\n"
            try await watch.waitForOutput(changes + missed + changes)
            watch.send(signal: SIGINT)
            let ended = try await watch.result()
            #expect(ended.errorText.contains("watching src"))
            let json = try world.start(["fs", "watch", "shop", "--json"])
            try await json.waitForOutput("\"from\":\"a\"")
            json.send(signal: SIGINT)
            _ = try await json.result()
            #expect(try await world.cli(["fs", "watch", "ghost"]).failed(1, saying: "ghost"))
        }
    }

    @Test func aTreeGoesThereAndBack() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let files = FileManager.default
            let source = world.folder + "/source"
            try files.createDirectory(atPath: source + "/deep/er", withIntermediateDirectories: true)
            try FakeExec.stdout.write(to: URL(fileURLWithPath: source + "/deep/er/large.bin"))
            try Data("hello\n".utf8).write(to: URL(fileURLWithPath: source + "/.hidden"))
            try Data("#!/bin/sh\n".utf8).write(to: URL(fileURLWithPath: source + "/run me"))
            try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: source + "/run me")
            try files.createSymbolicLink(atPath: source + "/link", withDestinationPath: ".hidden")

            let pushed = try await world.cli(["push", "shop", source, "--to", "a+b c/ü", "--replace"]).requireSuccess()
            #expect(pushed.text.hasPrefix("Pushed 3 files, 4.8 MiB") || pushed.text.contains("MiB"), "\(pushed.text)")
            #expect(world.node.pushes == [TreePush(path: "a+b c/ü", replace: true)])

            let target = world.folder + "/target/new"
            try await world.cli(["pull", "shop", target, "--from", "a+b c/ü"]).requireSuccess()
            #expect(world.node.pulls.map(\.path) == ["a+b c/ü"])
            #expect(files.contentsEqual(atPath: source, andPath: target))
            #expect(try files.destinationOfSymbolicLink(atPath: target + "/link") == ".hidden")
            #expect(files.isExecutableFile(atPath: target + "/run me"))

            try await world.cli(["push", "shop", source, "--to", "fresh", "--new"]).requireSuccess()
            #expect(world.node.pushes.last == TreePush(path: "fresh", ifMatch: ""))

            let json = try await world.cli(["push", "shop", source, "--json"]).requireSuccess().json()
            #expect(json["files"]?.integer == 3)
            let pulled = try await world.cli(["pull", "shop", target, "--json"]).requireSuccess().json()
            #expect(pulled["bytes"]?.integer ?? 0 > 5_000_000)
        }
    }

    /// Here the controller is on the same machine, so that only `--compression zstd` compresses.
    @Test func aTreeGoesThereAndBackCompressed() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let source = world.folder + "/source"
            try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
            try FakeExec.stdout.write(to: URL(fileURLWithPath: source + "/large.bin"))
            try Data("hello\n".utf8).write(to: URL(fileURLWithPath: source + "/small"))
            let zstd = ["--compression", "zstd"]
            let pushed = try await world.cli(["push", "shop", source, "--json"] + zstd).requireSuccess().json()
            #expect(pushed["sizeBytes"]?.integer ?? .max < FakeExec.stdout.count / 2, "what travels is small")
            for arguments in [["t1"] + zstd, ["t2"] + zstd + ["--json"]] {
                let target = world.folder + "/" + arguments[0]
                try await world.cli(["pull", "shop", target] + arguments.dropFirst()).requireSuccess()
                #expect(FileManager.default.contentsEqual(atPath: source, andPath: target))
            }
            #expect(world.node.pushes.map(\.compression) == [.zstd])
            #expect(world.node.pulls.map(\.compression) == [.zstd, .zstd])
            let broken = try await world.cli(["pull", "shop", world.folder + "/t", "--from", "broken"] + zstd)
            #expect(broken.status != 0, "\(broken)")
            try await world.cli(["push", "shop", source]).requireSuccess()
            #expect(world.node.pushes.last == TreePush())
            // Bytes that are no archive, in spite of what their head says.
            let damaged = try await world.cli(["pull", "shop", world.folder + "/t"] + zstd)
            #expect(damaged.failed(1, saying: "not Zstandard"), "\(damaged)")
        }
    }

    /// tar goes on behind what it cannot read: its archive is in order, and lacks that file.
    @Test(arguments: [[], ["--replace"], ["--compression", "zstd"]])
    func aTreeThatCannotBeReadAsAWholeIsNotPushed(options: [String]) async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let files = FileManager.default
            for name in ["/source", "/bin"] {
                try files.createDirectory(atPath: world.folder + name, withIntermediateDirectories: true)
            }
            try FakeExec.stdout.write(to: URL(fileURLWithPath: world.folder + "/source/large.bin"))
            // The system's tar, which is told of a file that is gone when it gets there, and says so once the node has heard of the
            // tree: of a caller that leaves before that the node hears nothing.
            let tar = world.folder + "/bin/tar"
            let heard = world.folder + "/heard"
            let script = """
                #!/bin/sh
                PATH=/usr/bin:/bin
                tar "$@" ./vanished
                status=$?
                until [ -e '\(heard)' ]; do sleep 0.05; done
                exit $status

                """
            try Data(script.utf8).write(to: URL(fileURLWithPath: tar))
            try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: tar)
            async let push = world.cli(
                ["push", "shop", world.folder + "/source"] + options,
                environment: ["PATH": world.folder + "/bin:/usr/bin:/bin"])
            try await eventually("the node heard of the push") { world.node.begunPushes == 1 }
            try Data().write(to: URL(fileURLWithPath: heard))
            let result = try await push
            #expect(result.status == 1 && result.output.isEmpty, "\(result)")
            #expect(result.errorText.contains("vanished") && result.errorText.contains("tar failed with status 2"))
            #expect(result.errorText.contains("Nothing was changed") == options.contains("--replace"))
            // The node heard of the tree, and not of its end.
            try await eventually("the push was given up") { world.node.brokenPushes == 1 }
            #expect(world.node.pushes.isEmpty)
        }
    }

    @Test func treesThatFailSayWhy() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let source = world.folder + "/source"
            try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
            for index in 0..<4 {
                try FakeExec.stdout.write(to: URL(fileURLWithPath: source + "/\(index)"))
            }
            #expect(try await world.cli(["push", "shop", world.folder + "/nothing"]).failed(1, saying: "nothing"))
            let ghost = try await world.cli(["push", "ghost", source])
            #expect(ghost.failed(1, saying: "ghost"), "\(ghost)")
            let forbidden = try await world.cli(["push", "shop", source, "--to", "forbidden"])
            #expect(forbidden.failed(77, saying: "Not there"), "\(forbidden)")
            #expect(try await world.cli(["pull", "ghost", world.folder + "/t"]).failed(1, saying: "ghost"))

            try await world.cli(["push", "shop", source]).requireSuccess()
            let broken = try await world.cli(["pull", "shop", world.folder + "/t", "--from", "broken"])
            #expect(broken.status == 69, "\(broken)")
            #expect(broken.errorText.contains("lost before its answer was complete"), "\(broken.errorText)")
            // A file stands where the directory should be made.
            let occupied = try await world.cli(["pull", "shop", world.tokenFile])
            #expect(occupied.failed(1), "\(occupied)")
        }
    }
}
