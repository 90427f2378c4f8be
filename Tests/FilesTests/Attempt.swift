import FastableCore
import NodeFiles

/// One operation on a path, as an attacker's name for a file would reach it. Tells what it has seen.
struct Attempt: Sendable {
    var name: String
    var run: @Sendable (_ service: FileService, _ path: String) async throws -> String

    init(_ name: String, _ run: @escaping @Sendable (FileService, String) async throws -> String) {
        self.name = name
        self.run = run
    }

    /// Those that work on what a path leads to.
    static let all: [Attempt] = [
        Attempt("read") { "\(try await $0.read(FileRead(path: $1)))" },
        Attempt("write") { "\(try await $0.write(FileWrite(path: $1, content: "evil")))" },
        Attempt("write new") { "\(try await $0.write(FileWrite(path: $1, content: "evil", ifMatch: "")))" },
        Attempt("edit") { service, path in
            let edits = [FileEdit.Replacement(oldString: "canary", newString: "x")]
            do {
                return "\(try await service.edit(FileEdit(path: path, edits: edits)))"
            } catch let error as FastableError where error.details["reason"] == "no_match" {
                return "\(error)"
            }
        },
        Attempt("list") { "\(try await $0.list(FileList(path: $1, depth: 3)))" },
        Attempt("glob") { "\(try await $0.glob(FileGlob(pattern: "**/*", path: $1)))" },
        Attempt("grep") { "\(try await $0.grep(FileGrep(pattern: ".", path: $1)))" },
        Attempt("download") { service, path in
            let stream = try await service.download(FileDownload(path: path))
            var bytes: [UInt8] = []
            while let next = try await stream.next() { bytes += next }
            return String(decoding: bytes, as: UTF8.self)
        },
        Attempt("upload") { service, path in
            let sink = try await service.upload(FileUpload(path: path))
            try await sink.write([1, 2, 3])
            return "\(try await sink.finish())"
        },
        Attempt("push") { service, path in
            let sink = try await service.pushTree(TreePush(path: path, replace: true))
            try await sink.write(Archive.file("pushed", "x") + Archive.end)
            return "\(try await sink.finish())"
        },
        Attempt("pull") { service, path in
            let stream = try await service.pullTree(TreePull(path: path))
            var bytes: [UInt8] = []
            while let next = try await stream.next() { bytes += next }
            return String(decoding: bytes, as: UTF8.self)
        },
        Attempt("stat") { "\(try await $0.stat(FileStat(path: $1, followLink: true, digest: true)))" },
        Attempt("watch") { service, path in
            try await service.watch(FileWatch(path: path)).cancel()
            return ""
        },
        Attempt("mkdir") { "\(try await $0.makeDirectory(DirectoryMake(path: $1, parents: true)))" },
        Attempt("chmod") { "\(try await $0.changeMode(FileModeChange(path: $1, mode: "777")))" },
    ]

    /// Those that work on a link itself, which is right when the link is what the path ends in. `file` and `dir` are there.
    static let onTheEntry: [Attempt] = [
        Attempt("delete") { "\(try await $0.delete(FileDelete(path: $1, recursive: true)))" },
        Attempt("stat link") { "\(try await $0.stat(FileStat(path: $1)))" },
        Attempt("mkdir one") { "\(try await $0.makeDirectory(DirectoryMake(path: $1)))" },
        Attempt("move from") { "\(try await $0.move(FileMove(from: $1, to: Self.free)))" },
        Attempt("move to") { "\(try await $0.move(FileMove(from: "file", to: $1, overwrite: true)))" },
        Attempt("copy from") { service, path in
            let copy = Self.free
            let result = try await service.copy(FileCopy(from: path, to: copy, recursive: true))
            // What it has brought in is seen like what was read.
            let read = try? await service.read(FileRead(path: copy))
            return "\(result) \(read.map { "\($0)" } ?? "")"
        },
        Attempt("copy to") { "\(try await $0.copy(FileCopy(from: "file", to: $1, overwrite: true)))" },
        Attempt("copy tree to") { "\(try await $0.copy(FileCopy(from: "dir", to: $1, recursive: true)))" },
    ]

    /// A name that nothing has.
    private static var free: String { "free-\(UInt64.random(in: 0 ... .max))" }
}
