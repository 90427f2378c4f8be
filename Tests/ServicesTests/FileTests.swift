import ControllerDomain
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct FileTests {
    @Test func aFileOperationReachesTheNodeAsItIs() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            nodes[0].reply(.fsRead) { (call: FileCall<FileRead>) in
                FileReadResult(
                    path: call.arguments.path, kind: .file, content: "x\n", encoding: .utf8, sha256: "ab", sizeBytes: 2,
                    firstLine: 1, lineCount: 1, totalLines: 1)
            }
            let answer = try await world.run(
                "fs.read", ["project": "shop", "path": "src/a.txt", "offset": 3, "limit": 10])
            #expect(answer["content"] == "x\n")
            let call = try #require(try nodes[0].requests(.fsRead, FileCall<FileRead>.self).first)
            #expect(call.project == project)
            #expect(call.arguments == FileRead(path: "src/a.txt", offset: 3, limit: 10))
            // The directories are made at the first use, and no container for them.
            try await world.run("fs.read", ["project": "shop", "path": "b"])
            #expect(nodes[0].methods == [.projectPrepare, .fsRead, .fsRead])
        }
    }

    @Test func everyFileOperationSpeaksTheNodesTypes() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let entry = FileEntry(
                name: "a", kind: .symlink, sizeBytes: 1, mode: "0777", modifiedMilliseconds: 5, symlinkTarget: "b")
            nodes[0].reply(.fsEdit) { (call: FileCall<FileEdit>) in
                FileEditResult(
                    path: call.arguments.path, sha256: "ab", replacements: call.arguments.edits.count, firstLine: 1,
                    snippet: "s")
            }
            nodes[0].reply(.fsList) { (_: FileCall<FileList>) in
                FileListResult(path: ".", entries: [entry], truncated: false)
            }
            nodes[0].reply(.fsGlob) { (_: FileCall<FileGlob>) in FileGlobResult(paths: ["a"], truncated: true) }
            nodes[0].reply(.fsGrep) { (_: FileCall<FileGrep>) in
                FileGrepResult(matches: [.init(path: "a", line: 3, text: "x")], filesWithMatches: 1, truncated: false)
            }
            nodes[0].reply(.fsDelete) { (call: FileCall<FileDelete>) in
                FileDeleteResult(path: call.arguments.path, removed: 1)
            }
            let edits: JSONValue = [
                ["oldString": "a", "newString": "b"], ["oldString": "c", "newString": "", "replaceAll": true],
            ]
            #expect(
                try await world.run("fs.edit", ["project": "shop", "path": "a", "edits": edits])["replacements"] == 2)
            #expect(try await world.run("fs.list", ["project": "shop"])["entries"]?.array?.count == 1)
            #expect(try await world.run("fs.glob", ["project": "shop", "pattern": "*"])["truncated"] == true)
            #expect(
                try await world.run("fs.grep", ["project": "shop", "pattern": "x", "ignoreCase": true])[
                    "filesWithMatches"] == 1)
            #expect(try await world.run("fs.delete", ["project": "shop", "path": "a"])["removed"] == 1)
        }
    }

    @Test func namesAndAttributesGoToTheNodeAsTheyAre() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].reply(.fsStat) { (call: FileCall<FileStat>) in
                FileStatResult(
                    path: call.arguments.path, kind: .file, sizeBytes: 1, mode: "0644", modifiedMilliseconds: 2)
            }
            nodes[0].reply(.fsMakeDirectory) { (call: FileCall<DirectoryMake>) in
                DirectoryMakeResult(path: call.arguments.path, created: true)
            }
            nodes[0].reply(.fsMove) { (_: FileCall<FileMove>) in FileMoveResult(from: "a", to: "b", replaced: true) }
            nodes[0].reply(.fsCopy) { (_: FileCall<FileCopy>) in
                FileCopyResult(from: "a", to: "b", copied: 3, sizeBytes: 7)
            }
            nodes[0].reply(.fsChangeMode) { (call: FileCall<FileModeChange>) in
                FileModeChangeResult(path: call.arguments.path, mode: "0755")
            }
            #expect(try await world.run("fs.stat", ["project": "shop", "path": "a", "digest": true])["mode"] == "0644")
            #expect(
                try await world.run("fs.mkdir", ["project": "shop", "path": "a", "parents": true])["created"] == true)
            try await world.run("fs.move", ["project": "shop", "from": "a", "to": "b", "ifMatch": "ab"])
            let copy: JSONValue = ["project": "shop", "from": "a", "to": "b", "recursive": true, "overwrite": true]
            #expect(try await world.run("fs.copy", copy)["copied"] == 3)
            try await world.run("fs.chmod", ["project": "shop", "path": "a", "mode": "755"])
            #expect(
                try nodes[0].requests(.fsMove, FileCall<FileMove>.self).map(\.arguments)
                    == [FileMove(from: "a", to: "b", ifMatch: "ab")])
            #expect(
                try nodes[0].requests(.fsCopy, FileCall<FileCopy>.self).map(\.arguments)
                    == [FileCopy(from: "a", to: "b", recursive: true, overwrite: true)])
            let event = try await world.audit("fs.move").last
            #expect(event?.detail["to"] == "b" && event?.subject == "a")
        }
    }

    @Test func theNodesErrorsPassWithTheirDetails() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].handle(.fsEdit) { _, _ in
                throw FastableError(.ambiguous, "Twice.", details: ["lines": [1, 5]])
            }
            let error = await expectFailure(.ambiguous) {
                try await world.run(
                    "fs.edit", ["project": "shop", "path": "a", "edits": [["oldString": "a", "newString": "b"]]])
            }
            #expect(error?.details["lines"] == [1, 5])
            let tooMany = JSONValue.array(
                Array(repeating: ["oldString": "a", "newString": "b"], count: Limits.fileEditsPerCall + 1))
            await expectFailure(.unprocessable) {
                try await world.run("fs.edit", ["project": "shop", "path": "a", "edits": tooMany])
            }
        }
    }

    @Test func smallContentIsOneMessageAndLargeContentIsAStream() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let result = FileWriteResult(path: "a", sha256: "ab", sizeBytes: 1, created: true)
            nodes[0].reply(.fsWrite) { (_: FileCall<FileWrite>) in result }
            let received = Mutex<[UInt8]>([])
            nodes[0].handle(.fileUpload) { stream, _ in
                while let event = try await stream.next() {
                    if case .data(0, let bytes) = event { received.withLock { $0 += Array(bytes.readableBytesView) } }
                }
                try await SimulatedNode.send(NodeReply.success(result), on: stream)
            }
            try await world.run("fs.write", ["project": "shop", "path": "a", "content": "short", "ifMatch": ""])
            #expect(
                try nodes[0].requests(.fsWrite, FileCall<FileWrite>.self).map(\.arguments)
                    == [FileWrite(path: "a", content: "short", ifMatch: "")])
            // Control characters are six bytes each in JSON: the worst that a message must hold.
            let small = String(repeating: "\u{1}", count: Limits.inlineWriteBytes)
            try await world.run("fs.write", ["project": "shop", "path": "a", "content": .string(small)])
            let large = String(repeating: "é", count: 1_000_000)
            try await world.run(
                "fs.write", ["project": "shop", "path": "b", "content": .string(large), "executable": true])
            #expect(received.withLock { $0 } == Array(large.utf8))
            let upload = try #require(try nodes[0].requests(.fileUpload, FileCall<FileUpload>.self).first)
            #expect(upload.arguments == FileUpload(path: "b", executable: true))
        }
    }

    @Test func contentIsCheckedBeforeItIsSent() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let base: [String: JSONValue] = ["project": "shop", "path": "a"]
            let tooLarge = String(repeating: "a", count: Limits.fileWriteBytes + 1)
            let error = await expectFailure(.tooLarge) {
                try await world.run("fs.write", .object(base.merging(["content": .string(tooLarge)]) { $1 }))
            }
            #expect(error?.details["limit"] == .integer(Int64(Limits.fileWriteBytes)))
            let wrong = await expectFailure(.unprocessable) {
                try await world.run("fs.write", .object(base.merging(["content": "%%", "encoding": "base64"]) { $1 }))
            }
            #expect(wrong?.details["field"] == "content")
            #expect(nodes[0].methods.isEmpty)
        }
    }
}
