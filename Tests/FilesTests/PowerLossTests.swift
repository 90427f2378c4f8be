import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// New content that was answered outlives a loss of power: its bytes and its names were on the disk by then.
@Suite(.needsRoot, .endsInTime) struct PowerLossTests {
    private static let old = String(repeating: "old\n", count: 5_000)
    private static let new = String(repeating: "new\n", count: 5_000)

    /// What makes `path` have the new content; `source` has it already.
    enum Change: String, CaseIterable {
        case write, edit, upload, push, replace, new, copy, copyTree, move, moveTree

        /// Where the content is found.
        var path: String {
            switch self {
            case .push, .replace, .new, .copyTree, .moveTree: "into/file"
            case .write, .edit, .upload, .copy, .move: "file"
            }
        }

        func perform(_ service: FileService) async throws {
            switch self {
            case .write: _ = try await service.write(FileWrite(path: path, content: PowerLossTests.new))
            case .edit:
                let edit = FileEdit.Replacement(oldString: "old", newString: "new", replaceAll: true)
                _ = try await service.edit(FileEdit(path: path, edits: [edit]))
            case .upload:
                let sink = try await service.upload(FileUpload(path: path))
                try await sink.write(Array(PowerLossTests.new.utf8))
                _ = try await sink.finish()
            case .push: try await push(TreePush(path: "into"), service)
            case .replace: try await push(TreePush(path: "into", replace: true), service)
            case .new: try await push(TreePush(path: "into", ifMatch: ""), service)
            case .copy: _ = try await service.copy(FileCopy(from: "source/file", to: path, overwrite: true))
            case .copyTree: _ = try await service.copy(FileCopy(from: "source", to: "into", recursive: true))
            case .move: _ = try await service.move(FileMove(from: "source/file", to: path, overwrite: true))
            case .moveTree: _ = try await service.move(FileMove(from: "source", to: "into"))
            }
        }

        private func push(_ request: TreePush, _ service: FileService) async throws {
            let sink = try await service.pushTree(request)
            try await sink.write(Archive.file("file", PowerLossTests.new) + Archive.end)
            _ = try await sink.finish()
        }

        /// A directory that is in the way of the others.
        var hasDirectory: Bool { self == .push || self == .replace }
    }

    @Test(arguments: Change.allCases) func whatWasAnsweredIsOnTheDisk(_ change: Change) async throws {
        try await CutDisk.with { disk in
            let service = try Workspace(service: disk.path).service
            _ = try await service.write(FileWrite(path: "source/file", content: Self.new))
            _ = try await service.write(FileWrite(path: "file", content: Self.old))
            if change.hasDirectory { _ = try await service.write(FileWrite(path: "into/file", content: Self.old)) }
            try await change.perform(service)
            try await disk.afterLoss { path in
                let later = try Workspace(service: path).service
                #expect(try await later.read(FileRead(path: change.path)).text == Self.new)
                let isMoved = change == .move || change == .moveTree
                let source = try? await later.read(FileRead(path: "source/file")).text
                #expect(source == (isMoved ? nil : Self.new))
            }
        }
    }

    /// What changes names and modes only.
    enum Alteration: String, CaseIterable {
        case delete, deleteAsIs, deleteTree, mode, modeAsIs, modeOfDirectory, directory, directories

        func perform(_ service: FileService) async throws {
            let asIs = try await service.read(FileRead(path: "d/file")).sha256
            switch self {
            case .delete: _ = try await service.delete(FileDelete(path: "d/file"))
            case .deleteAsIs: _ = try await service.delete(FileDelete(path: "d/file", ifMatch: asIs))
            case .deleteTree: _ = try await service.delete(FileDelete(path: "d", recursive: true))
            case .mode: _ = try await service.changeMode(FileModeChange(path: "d/file", mode: "751"))
            case .modeAsIs: _ = try await service.changeMode(FileModeChange(path: "d/file", mode: "751", ifMatch: asIs))
            case .modeOfDirectory: _ = try await service.changeMode(FileModeChange(path: "d", mode: "700"))
            case .directory: _ = try await service.makeDirectory(DirectoryMake(path: "d/new"))
            case .directories: _ = try await service.makeDirectory(DirectoryMake(path: "a/b/c", parents: true))
            }
        }

        /// What `look` finds when it was done.
        var modes: [String: String] {
            let before = ["d": "0755", "d/file": "0644"]
            let changes: [String: String?] =
                switch self {
                case .delete, .deleteAsIs: ["d/file": nil]
                case .deleteTree: ["d/file": nil, "d": nil]
                case .mode, .modeAsIs: ["d/file": "0751"]
                case .modeOfDirectory: ["d": "0700"]
                case .directory: ["d/new": "0755"]
                case .directories: ["a": "0755", "a/b": "0755", "a/b/c": "0755"]
                }
            return changes.reduce(into: before) { $0[$1.key] = $1.value }
        }
    }

    private static func look(_ service: FileService) async -> [String: String] {
        var modes: [String: String] = [:]
        for path in ["d", "d/file", "d/new", "a", "a/b", "a/b/c"] {
            modes[path] = try? await service.stat(FileStat(path: path)).mode
        }
        return modes
    }

    @Test(arguments: Alteration.allCases) func whatWasAlteredStaysSo(_ alteration: Alteration) async throws {
        try await CutDisk.with { disk in
            let service = try Workspace(service: disk.path).service
            _ = try await service.write(FileWrite(path: "d/file", content: Self.old))
            try await alteration.perform(service)
            #expect(await Self.look(service) == alteration.modes)
            try await disk.afterLoss { path in
                let later = try Workspace(service: path).service
                #expect(await Self.look(later) == alteration.modes)
            }
        }
    }

    /// Few files are put onto the disk one by one, many together.
    @Test(arguments: [1, 10, Limits.copyEntriesSavedSingly + 10]) func copiesOfAnySize(files: Int) async throws {
        try await CutDisk.with { disk in
            let workspace = try Workspace(service: disk.path)
            let service = workspace.service
            for number in 0..<files {
                _ = try await service.write(FileWrite(path: "from/\(number % 3)/\(number)", content: "\(number)"))
            }
            _ = try await service.copy(FileCopy(from: "from", to: "made/for/it", recursive: true))
            try await disk.afterLoss { path in
                let later = try Workspace(service: path).service
                for number in 0..<files {
                    let copy = try await later.read(FileRead(path: "made/for/it/\(number % 3)/\(number)"))
                    #expect(copy.text == "\(number)")
                }
            }
        }
    }

    /// The test can fail: what nobody waited for is not there.
    @Test func whatOnlyTheKernelHasIsLost() async throws {
        try await CutDisk.with { disk in
            let service = try Workspace(service: disk.path).service
            _ = try await service.write(FileWrite(path: "saved", content: Self.new))
            let unsaved = try FileDescriptor(opening: disk.path + "/unsaved", O_WRONLY | O_CREAT, mode: 0o644)
            try unsaved.writeAll(Array(Self.new.utf8))
            try await disk.afterLoss { path in
                let later = try Workspace(service: path).service
                #expect(try await later.read(FileRead(path: "saved")).text == Self.new)
                await #expect(throws: FastableError.self) { try await later.read(FileRead(path: "unsaved")) }
            }
        }
    }
}
