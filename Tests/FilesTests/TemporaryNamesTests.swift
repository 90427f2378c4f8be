import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// A file that takes the place of another one has a name of its own for a moment. Whoever is killed then leaves it.
@Suite(.endsInTime) struct TemporaryNamesTests {
    private static func notes(_ workspace: Workspace) -> String { workspace.base + "/names" }

    private static func open(_ workspace: Workspace) throws -> (service: FileService, names: TemporaryNames) {
        let names = TemporaryNames(folder: notes(workspace))
        return (try FileService(root: workspace.path, uidBase: workspace.uidBase, names: names), names)
    }

    private static func noted(_ workspace: Workspace) throws -> Int {
        var count = 0
        try FileDescriptor(opening: notes(workspace), O_RDONLY | O_DIRECTORY).forEachEntry { _ in
            count += 1
            return true
        }
        return count
    }

    @Test func whatWasLeftIsRemoved() throws {
        let workspace = try Workspace()
        let names = try Self.open(workspace).names
        var left: [String] = []
        for directory in ["", "d/", "d/a b\n/"] {
            let name = TemporaryNames.random()
            try workspace.makeDirectories(directory + "x")
            names.note(name, in: try FileDescriptor(opening: workspace.path + "/" + directory, O_RDONLY | O_DIRECTORY))
            try workspace.put("new", directory + name)
            left.append(directory + name)
        }
        // Nobody noted this one, so it is the container's; and these are gone, or never came to be.
        let own = TemporaryNames.random()
        try workspace.put("own", own)
        names.note(TemporaryNames.random(), in: workspace.service.root.descriptor)
        try workspace.makeDirectories("gone/x")
        names.note(
            TemporaryNames.random(), in: try FileDescriptor(opening: workspace.path + "/gone", O_RDONLY | O_DIRECTORY))
        try Errno.check { rmdir(workspace.path + "/gone") }
        #expect(try Self.noted(workspace) == 5)
        try TemporaryNames(folder: Self.notes(workspace)).removeAll(in: workspace.path)
        for path in left { #expect(!workspace.exists(path)) }
        #expect(try workspace.text(own) == "own")
        #expect(try Self.noted(workspace) == 0)
    }

    /// A process of the container may put anything where the note says.
    @Test func aNoteLeadsNowhereElse() throws {
        let workspace = try Workspace()
        let names = try Self.open(workspace).names
        let name = TemporaryNames.random()
        let outside = workspace.outside + "/" + name
        try FileDescriptor(opening: outside, O_WRONLY | O_CREAT, mode: 0o644).writeAll([1])
        names.note(name, in: try FileDescriptor(opening: workspace.outside, O_RDONLY | O_DIRECTORY))
        try workspace.makeDirectories("d/x")
        let other = TemporaryNames.random()
        names.note(other, in: try FileDescriptor(opening: workspace.path + "/d", O_RDONLY | O_DIRECTORY))
        try FileDescriptor(opening: workspace.outside + "/" + other, O_WRONLY | O_CREAT, mode: 0o644).writeAll([1])
        try Errno.check { rmdir(workspace.path + "/d") }
        try workspace.link(workspace.outside, "d")
        try names.removeAll(in: workspace.path)
        #expect(access(outside, F_OK) == 0 && access(workspace.outside + "/" + other, F_OK) == 0)
        #expect(try Self.noted(workspace) == 0)
    }

    @Test func whatReplacesIsNotedAndForgotten() async throws {
        let workspace = try Workspace()
        let service = try Self.open(workspace).service
        func isNoted(_ change: () async throws -> Void) async throws -> Bool {
            let before = try FileDescriptor(opening: Self.notes(workspace), O_RDONLY).status().modified
            // The clock of files goes in steps.
            usleep(20_000)
            try await change()
            #expect(try Self.noted(workspace) == 0)
            return try FileDescriptor(opening: Self.notes(workspace), O_RDONLY).status().modified != before
        }
        // Nothing is replaced yet, and nothing has a name before it has its own.
        #expect(try await !isNoted { _ = try await service.write(FileWrite(path: "file", content: "old")) })
        #expect(try await isNoted { _ = try await service.write(FileWrite(path: "file", content: "new")) })
        #expect(
            try await isNoted {
                let edit = FileEdit.Replacement(oldString: "new", newString: "edited")
                _ = try await service.edit(FileEdit(path: "file", edits: [edit]))
            })
        #expect(
            try await isNoted {
                let sink = try await service.upload(FileUpload(path: "file"))
                try await sink.write([1])
                _ = try await sink.finish()
            })
        #expect(
            try await isNoted {
                let sink = try await service.pushTree(TreePush())
                try await sink.write(Archive.file("file", "pushed") + Archive.end)
                _ = try await sink.finish()
            })
        _ = try await service.write(FileWrite(path: "other", content: "other"))
        #expect(
            try await isNoted {
                _ = try await service.copy(FileCopy(from: "other", to: "file", overwrite: true))
            })
        #expect(try workspace.names() == ["file", "other"])
    }
}
