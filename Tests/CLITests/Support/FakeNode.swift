import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import Synchronization

/// A node without containers: its files are in memory, and its commands are a few that tests need.
final class FakeNode: Sendable {
    struct Kill: Sendable, Equatable {
        var exec: ExecID
        var signal: Int32
    }

    private struct State {
        var files: [String: Data] = [:]
        var archive = Data()
        var pushes: [TreePush] = []
        var begunPushes = 0
        var brokenPushes = 0
        var pulls: [TreePull] = []
        var edits: [FileEdit] = []
        var starts: [ExecStart] = []
        var kills: [Kill] = []
        var attempts = 0
        var signals: [ExecID: AsyncStream<Int32>.Continuation] = [:]
        var images: [ImageInfo] = []
    }

    private let state = Mutex(State())

    static let facts = NodeFacts(
        programVersion: "1", hostName: "host", kernel: "6.1", cgroup: .v2, runtime: "runc 1.1.5", cpus: 4,
        memoryBytes: 1 << 33, diskBytes: 1 << 40, diskFreeBytes: 1 << 39, images: ["vibn-dev"])

    static let checkpoint = CheckpointID()

    var starts: [ExecStart] { state.withLock { $0.starts } }
    var kills: [Kill] { state.withLock { $0.kills } }
    /// How often somebody wanted to follow a command.
    var attempts: Int { state.withLock { $0.attempts } }
    var pushes: [TreePush] { state.withLock { $0.pushes } }
    var begunPushes: Int { state.withLock { $0.begunPushes } }
    var brokenPushes: Int { state.withLock { $0.brokenPushes } }
    var pulls: [TreePull] { state.withLock { $0.pulls } }
    var edits: [FileEdit] { state.withLock { $0.edits } }
    var files: [String: Data] { state.withLock { $0.files } }

    func serve(_ stream: MuxStream) async {
        do {
            let opening = Data(buffer: stream.opening)
            let method = try NodeRequestHead(opening: opening).method
            do {
                try await serve(method, FakeCall(stream: stream, opening: opening))
            } catch let error as FastableError where method != .execStart && method != .execAttach {
                try await FakeCall(stream: stream, opening: opening).reply(NodeReply<Empty>.failure(error))
            }
        } catch {
            stream.reset(FastableError.unexpected(error, doing: "pretending"))
        }
    }

    private func serve(_ method: NodeMethod, _ call: FakeCall) async throws {
        switch method {
        case .projectPrepare, .projectDelete: try await call.answer { (_: JSONValue) in Empty() }
        case .containerEnsure, .containerStatus, .containerSuspend, .containerResume, .containerStop:
            try await call.answer { (arguments: JSONValue) in Self.status(arguments, after: method) }
        case .containerExplain, .containerKeepAwake:
            try await call.answer { (arguments: JSONValue) in Self.explanation(arguments) }
        case .containerLimits:
            try await call.answer { (wish: ContainerLimits) in
                guard wish.limits.memoryBytes > 64 << 20 else {
                    throw FastableError(.conflict, "The container uses 70000000 bytes of memory.")
                }
                return Self.status(["project": .string(wish.project.description)], after: method)
            }
        case .containerPolicy: try await call.answer { (_: JSONValue) in Empty() }
        case .checkpointCreate, .checkpointRollback, .projectFork:
            try await call.answer { (arguments: JSONValue) in
                let made = arguments["arguments"]?["keepAs"] ?? arguments["arguments"]?["id"]
                return TreeWorkEvent.finished(
                    TreeWorkResult(
                        entries: 3, contentBytes: 2048, changedFiles: 0, skipped: 0,
                        checkpoint: made?.string.flatMap(CheckpointID.init)))
            }
        case .checkpointList:
            try await call.answer { (_: JSONValue) in
                CheckpointListResult(checkpoints: [
                    CheckpointInfo(id: Self.checkpoint, createdAt: Date(timeIntervalSince1970: 0), note: "before it")
                ])
            }
        case .checkpointRemove: try await call.answer { (_: JSONValue) in Empty() }
        case .snapshotRead: try await call.answer { (_: JSONValue) in SnapshotHead(isEmpty: true) }
        case .execStart: try await FakeExec(node: self, call: call).run()
        case .execAttach: try await FakeExec(node: self, call: call).attach()
        case .execKill: try await call.answer { self.kill($0) }
        case .treePush: try await push(call)
        case .treePull: try await pull(call)
        case .imageList:
            try await call.answer { (_: Empty) in ImageListResult(images: self.state.withLock { $0.images }) }
        case .imageAdd: try await call.answer { self.addImage($0) }
        case .imageRemove: try await call.answer { self.removeImage($0) }
        case .fileUpload: try await upload(call)
        case .fileDownload: try await download(call)
        case .fsRead, .fsWrite, .fsEdit, .fsList, .fsGlob, .fsGrep, .fsGlobStream, .fsGrepStream, .fsDelete:
            try await files(method, call)
        case .fsStat, .fsMakeDirectory, .fsMove, .fsCopy, .fsChangeMode: try await names(method, call)
        case .fsWatch: try await watch(call)
        default:
            throw FastableError(.invalid, "‘\(method.rawValue)’ is not pretended.")
        }
    }

    private static func project(_ arguments: JSONValue) -> ProjectID {
        arguments["project"]?.string.flatMap(ProjectID.init) ?? ProjectID()
    }

    private static func status(_ arguments: JSONValue, after method: NodeMethod) -> ContainerStatus {
        let states: [NodeMethod: ContainerState] = [.containerSuspend: .suspended, .containerStop: .stopped]
        return ContainerStatus(
            project: project(arguments), state: states[method] ?? .running, container: ContainerID(), image: "vibn-dev",
            startedAt: Date(), reason: arguments["force"]?.bool == true ? "By force." : "It is so.",
            limits: ResourceLimits(), runningExecs: 0)
    }

    private static func explanation(_ arguments: JSONValue) -> ContainerExplanation {
        let seconds = arguments["seconds"]?.integer.map { "\($0) seconds" } ?? "nothing"
        return ContainerExplanation(
            project: project(arguments), state: .running, since: Date(), reason: "It runs.",
            text: "Kept awake by \(seconds) ‘\(arguments["reason"]?.string ?? "")’.", idleSince: nil, awakeBecause: [],
            next: nil, policy: .standard)
    }

    // MARK: commands

    func started(_ start: ExecStart) -> AsyncStream<Int32> {
        state.withLock { $0.starts.append(start) }
        return signals(of: start.exec)
    }

    /// What is sent to a command from now on; whoever listened before hears no more.
    func signals(of exec: ExecID) -> AsyncStream<Int32> {
        let (signals, continuation) = AsyncStream.makeStream(of: Int32.self)
        let last = state.withLock { $0.signals.updateValue(continuation, forKey: exec) }
        last?.finish()
        return signals
    }

    func isAttachedTo() { state.withLock { $0.attempts += 1 } }

    func signalled(_ exec: ExecID, _ signal: Int32) {
        state.withLock { state in
            state.kills.append(Kill(exec: exec, signal: signal))
            _ = state.signals[exec]?.yield(signal)
        }
    }

    private func kill(_ kill: ExecKill) -> ExecKillReceipt {
        signalled(kill.exec, kill.signal)
        return ExecKillReceipt(everythingEnded: kill.signal == 9, wasForced: false, result: nil)
    }

    // MARK: files

    private func files(_ method: NodeMethod, _ call: FakeCall) async throws {
        switch method {
        case .fsRead: try await call.answer { (file: FileCall<FileRead>) in try self.read(file.arguments) }
        case .fsWrite:
            try await call.answer { (file: FileCall<FileWrite>) in
                let write = file.arguments
                let bytes =
                    write.encoding == .base64 ? Data(base64Encoded: write.content) ?? Data() : Data(write.content.utf8)
                return self.store(bytes, at: write.path)
            }
        case .fsEdit: try await call.answer { (file: FileCall<FileEdit>) in try self.edit(file.arguments) }
        case .fsList: try await call.answer { (_: FileCall<FileList>) in self.list() }
        case .fsGlob: try await call.answer { (file: FileCall<FileGlob>) in self.glob(file.arguments.pattern) }
        case .fsGlobStream:
            let file: FileCall<FileGlob> = try call.arguments()
            var result = glob(file.arguments.pattern)
            try await call.send(FileSearchEvent<String, FileGlobResult>.found(result.paths))
            result.paths = []
            try await call.send(FileSearchEvent<String, FileGlobResult>.finished(result))
            try await call.stream.finish()
        case .fsGrepStream:
            let file: FileCall<FileGrep> = try call.arguments()
            var result = grep(file.arguments.pattern)
            for match in result.matches {
                try await call.send(FileSearchEvent<FileGrepResult.Match, FileGrepResult>.found([match]))
            }
            result.matches = []
            try await call.send(FileSearchEvent<FileGrepResult.Match, FileGrepResult>.finished(result))
            try await call.stream.finish()
        case .fsGrep: try await call.answer { (file: FileCall<FileGrep>) in self.grep(file.arguments.pattern) }
        default:
            try await call.answer { (file: FileCall<FileDelete>) in
                let path = file.arguments.path
                guard self.state.withLock({ $0.files.removeValue(forKey: path) }) != nil else {
                    throw FastableError(.notFound, "There is no file ‘\(path)’.")
                }
                return FileDeleteResult(path: path, removed: 1)
            }
        }
    }

    /// Files have other names then; directories and modes it only talks of.
    private func names(_ method: NodeMethod, _ call: FakeCall) async throws {
        switch method {
        case .fsStat:
            try await call.answer { (file: FileCall<FileStat>) in
                let path = file.arguments.path
                return FileStatResult(
                    path: path, kind: .file, sizeBytes: try self.content(path).count, mode: "0644",
                    modifiedMilliseconds: 0, user: 0, sha256: file.arguments.digest == true ? "ab12" : nil)
            }
        case .fsMakeDirectory:
            try await call.answer { (file: FileCall<DirectoryMake>) in
                DirectoryMakeResult(path: file.arguments.path, created: file.arguments.parents != true)
            }
        case .fsMove:
            try await call.answer { (file: FileCall<FileMove>) in
                let move = file.arguments
                let isNew = try self.give(self.content(move.from), to: move.to, overwrite: move.overwrite)
                _ = self.state.withLock { $0.files.removeValue(forKey: move.from) }
                return FileMoveResult(from: move.from, to: move.to, replaced: !isNew)
            }
        case .fsCopy:
            try await call.answer { (file: FileCall<FileCopy>) in
                let copy = file.arguments
                let bytes = try self.content(copy.from)
                let isNew = try self.give(bytes, to: copy.to, overwrite: copy.overwrite)
                return FileCopyResult(
                    from: copy.from, to: copy.to, copied: 1, sizeBytes: Int64(bytes.count),
                    skipped: copy.recursive == true ? 2 : 0, replaced: !isNew)
            }
        default:
            try await call.answer { (file: FileCall<FileModeChange>) in
                FileModeChangeResult(path: file.arguments.path, mode: "0" + file.arguments.mode)
            }
        }
    }

    private func give(_ bytes: Data, to path: String, overwrite: Bool?) throws -> Bool {
        guard overwrite == true || files[path] == nil else {
            throw FastableError(.conflict, "‘\(path)’ exists already.")
        }
        return store(bytes, at: path).created
    }

    private func store(_ bytes: Data, at path: String) -> FileWriteResult {
        let old = state.withLock { $0.files.updateValue(bytes, forKey: path) }
        return FileWriteResult(
            path: path, sha256: String(repeating: "0", count: 64), sizeBytes: bytes.count, created: old == nil)
    }

    private func content(_ path: String) throws -> Data {
        guard let bytes = files[path] else { throw FastableError(.notFound, "There is no file ‘\(path)’.") }
        return bytes
    }

    private func read(_ read: FileRead) throws -> FileReadResult {
        let bytes = try content(read.path)
        let text = String(data: bytes, encoding: .utf8)
        return FileReadResult(
            path: read.path, kind: .file, content: text ?? bytes.base64EncodedString(),
            encoding: text == nil ? .base64 : .utf8, sizeBytes: bytes.count, firstLine: read.offset ?? 1, lineCount: 1,
            truncated: read.limit != nil)
    }

    private func edit(_ edit: FileEdit) throws -> FileEditResult {
        state.withLock { $0.edits.append(edit) }
        var text = String(decoding: try content(edit.path), as: UTF8.self)
        for change in edit.edits {
            guard text.contains(change.oldString) else {
                throw FastableError(
                    .notFound, "The text does not stand in ‘\(edit.path)’.",
                    details: ["nearest": [["line": 3, "text": "debug = true\nnext"]]])
            }
            text = text.replacing(change.oldString, with: change.newString)
        }
        _ = store(Data(text.utf8), at: edit.path)
        return FileEditResult(
            path: edit.path, sha256: String(repeating: "0", count: 64), replacements: edit.edits.count, firstLine: 1,
            snippet: edit.edits.last?.newString ?? "")
    }

    private func list() -> FileListResult {
        FileListResult(
            path: ".",
            entries: files.sorted { $0.key < $1.key }.map {
                FileEntry(
                    name: $0.key, kind: .file, sizeBytes: $0.value.count, mode: "0644", modifiedMilliseconds: 0,
                    symlinkTarget: nil)
            }, truncated: false)
    }

    private func glob(_ pattern: String) -> FileGlobResult {
        let ending = pattern.split(separator: "*").last ?? ""
        return FileGlobResult(paths: files.keys.filter { $0.hasSuffix(ending) }.sorted(), truncated: true)
    }

    private func grep(_ pattern: String) -> FileGrepResult {
        let matches = files.sorted { $0.key < $1.key }.flatMap { path, bytes in
            String(decoding: bytes, as: UTF8.self).split(separator: "\n").enumerated()
                .filter { $0.element.contains(pattern) }
                .map { FileGrepResult.Match(path: path, line: $0.offset + 1, text: String($0.element)) }
        }
        return FileGrepResult(matches: matches, filesWithMatches: 1, truncated: false)
    }

    // MARK: bytes

    private func upload(_ call: FakeCall) async throws {
        let file: FileCall<FileUpload> = try call.arguments()
        try await call.reply(.success(store(try await call.bytes(), at: file.arguments.path)))
    }

    /// Breaks off in the middle of a file called `broken`.
    private func download(_ call: FakeCall) async throws {
        let file: FileCall<FileDownload> = try call.arguments()
        let bytes = try content(file.arguments.path)
        let head = FileDownloadHead(
            sizeBytes: Int64(bytes.count), offset: 0, length: Int64(bytes.count), version: "v1-2-3-4")
        try await call.send(NodeReply.success(head))
        if file.arguments.path == "broken" {
            try await call.stream.send(data: ByteBuffer(data: bytes.prefix(bytes.count / 2)), channel: 1)
            throw CancellationError()
        }
        for start in stride(from: 0, to: bytes.count, by: Limits.framePayloadBytes) {
            let part = bytes[start..<min(start + Limits.framePayloadBytes, bytes.count)]
            try await call.stream.send(data: ByteBuffer(data: part), channel: 1)
        }
        try await call.stream.finish()
    }

    /// Tells a few changes, and then breaks off.
    private func watch(_ call: FakeCall) async throws {
        let file: FileCall<FileWatch> = try call.arguments()
        try await call.stream.send(message: ByteBuffer(data: try JSON.encode(NodeReply.success(Empty()))))
        let events = [
            FileWatchEvent(kind: .created, path: (file.arguments.path ?? "") + "/d", isDirectory: true),
            FileWatchEvent(kind: .moved, path: "b", from: "a"),
            FileWatchEvent(kind: .rescan, path: ".", isDirectory: true, reason: "Too fast."),
        ]
        try await call.stream.send(message: ByteBuffer(data: try JSON.encode(FileWatchBatch(events: events))))
        try await call.stream.finish()
    }

    private func push(_ call: FakeCall) async throws {
        let tree: FileCall<TreePush> = try call.arguments()
        if tree.arguments.path == "forbidden" { throw FastableError(.forbidden, "Not there.") }
        let archive: Data
        state.withLock { $0.begunPushes += 1 }
        do {
            archive = try await call.bytes()
        } catch {
            state.withLock { $0.brokenPushes += 1 }
            throw error
        }
        state.withLock { state in
            state.archive = archive
            state.pushes.append(tree.arguments)
        }
        try await call.reply(.success(TreeResult(files: 3, sizeBytes: Int64(archive.count))))
    }

    private func pull(_ call: FakeCall) async throws {
        let tree: FileCall<TreePull> = try call.arguments()
        let archive = state.withLock { state in
            state.pulls.append(tree.arguments)
            return state.archive
        }
        if tree.arguments.path == "broken" {
            try await call.stream.send(data: ByteBuffer(data: archive.prefix(archive.count / 2)), channel: 1)
            throw CancellationError()
        }
        try await call.stream.send(data: ByteBuffer(data: archive), channel: 1)
        try await call.stream.finish()
    }

    // MARK: images

    private func addImage(_ image: ImageAdd) -> ImageInfo {
        let info = ImageInfo(name: image.name, source: image.source, sizeBytes: 5_000_000, addedAt: Date())
        state.withLock { $0.images.append(info) }
        return info
    }

    private func removeImage(_ image: ImageName) -> Empty {
        state.withLock { state in state.images.removeAll { $0.name == image.name } }
        return Empty()
    }
}

/// One request at the fake node.
struct FakeCall: Sendable {
    let stream: MuxStream
    let opening: Data

    func arguments<Arguments: Codable & Sendable>() throws -> Arguments {
        try NodeRequest<Arguments>(opening: opening).arguments
    }

    func answer<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ body: (Arguments) throws -> Value
    ) async throws {
        try await reply(.success(try body(try arguments())))
    }

    func reply(_ reply: NodeReply<some Codable & Sendable>) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(reply)))
        try await stream.finish()
    }

    func send(_ message: some Encodable) async throws {
        try await stream.send(message: ByteBuffer(data: try JSON.encode(message)))
    }

    /// All that the controller sends.
    func bytes() async throws -> Data {
        var all = Data()
        while let event = try await stream.next() {
            if case .data(_, let part) = event { all.append(Data(buffer: part)) }
        }
        return all
    }
}
