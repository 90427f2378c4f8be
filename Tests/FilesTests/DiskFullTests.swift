import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite(.needsRoot) struct DiskFullTests {
    /// A workspace on a filesystem of 512 KiB, and where that is.
    private func withSmallDisk(_ body: (Workspace, String) async throws -> Void) async throws {
        let workspace = try Workspace()
        try await HostCommand("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", workspace.path]).runChecked("mount")
        do {
            let small = try Workspace(service: workspace.path)
            try await body(small, workspace.path)
        } catch {
            try await HostCommand("umount", ["-l", workspace.path]).runChecked("unmount")
            throw error
        }
        try await HostCommand("umount", ["-l", workspace.path]).runChecked("unmount")
    }

    @Test func oldFileStays() async throws {
        try await withSmallDisk { workspace, _ in
            let service = workspace.service
            _ = try await service.write(FileWrite(path: "file", content: "precious"))
            let big = String(repeating: "x", count: 1_000_000)
            let attempts: [() async throws -> Void] = [
                { _ = try await service.write(FileWrite(path: "file", content: big)) },
                { _ = try await service.write(FileWrite(path: "new", content: big)) },
                {
                    _ = try await service.edit(
                        FileEdit(path: "file", edits: [.init(oldString: "precious", newString: big)]))
                },
                {
                    let sink = try await service.upload(FileUpload(path: "file"))
                    for _ in 0..<10 { try await sink.write([UInt8](repeating: 1, count: 100_000)) }
                    _ = try await sink.finish()
                },
                {
                    let sink = try await service.pushTree(TreePush())
                    try await sink.write(Archive.file("file", big) + Archive.end)
                    _ = try await sink.finish()
                },
            ]
            for attempt in attempts {
                let error = try await expectError { try await attempt() }
                #expect(error.code == .limit, "\(error)")
                #expect(error.message.contains("No space is left"))
                #expect(try await service.read(FileRead(path: "file")).text == "precious")
                #expect(try await service.list(FileList(includeHidden: true)).entries.map(\.name) == ["file"])
            }
            // What was begun takes no space, and a full disk can be emptied.
            _ = try await service.write(FileWrite(path: "fits", content: String(repeating: "x", count: 400_000)))
            _ = try await service.delete(FileDelete(path: "fits"))
        }
    }

    @Test(arguments: [nil, "app"] as [String?]) func aFullDiskLeavesTheOldTree(_ path: String?) async throws {
        try await withSmallDisk { workspace, disk in
            let service = workspace.service
            let names = ["app/one", "app/two", "three"]
            for name in names { _ = try await service.write(FileWrite(path: name, content: "precious")) }
            let sink = try await service.pushTree(TreePush(path: path, replace: true))
            let archive = (0..<20).flatMap { Archive.file("big\($0)", String(repeating: "x", count: 50_000)) }
            let error = try await expectError {
                try await sink.write(archive + Archive.end)
                _ = try await sink.finish()
            }
            #expect(error.code == .limit, "\(error)")
            for name in names { #expect(try await service.read(FileRead(path: name)).text == "precious") }
            #expect(try FileManager.default.contentsOfDirectory(atPath: disk).sorted() == ["app", "three"])
            // There is room again for one that fits beside the old tree.
            let small = try await service.pushTree(TreePush(path: path, replace: true))
            try await small.write(Archive.file("fits", String(repeating: "x", count: 300_000)) + Archive.end)
            _ = try await small.finish()
            let shown = try await service.list(FileList(path: path, depth: 2, includeHidden: true)).entries.map(\.name)
            #expect(shown == ["fits"])
        }
    }

    @Test func copiesLeaveWhatIsThere() async throws {
        try await withSmallDisk { workspace, _ in
            let service = workspace.service
            _ = try await service.write(FileWrite(path: "file", content: "precious"))
            let big = String(repeating: "x", count: 300_000)
            _ = try await service.write(FileWrite(path: "tree/big", content: big))
            let attempts: [() async throws -> Void] = [
                { _ = try await service.copy(FileCopy(from: "tree/big", to: "file", overwrite: true)) },
                { _ = try await service.copy(FileCopy(from: "tree/big", to: "new")) },
                { _ = try await service.copy(FileCopy(from: "tree", to: "new", recursive: true)) },
            ]
            for attempt in attempts {
                let error = try await expectError { try await attempt() }
                #expect(error.code == .limit, "\(error)")
                #expect(try await service.read(FileRead(path: "file")).text == "precious")
                #expect(try await service.list(FileList(includeHidden: true)).entries.map(\.name) == ["file", "tree"])
            }
            // A move needs no space.
            _ = try await service.move(FileMove(from: "tree/big", to: "file", overwrite: true))
            #expect(try await service.stat(FileStat(path: "file")).sizeBytes == 300_000)
        }
    }
}
