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
