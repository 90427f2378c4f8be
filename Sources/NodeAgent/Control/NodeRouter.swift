import FastableCore
public import FastableWire
import FoundationEssentials
import Glibc
public import Logging
import NIOCore
import NIOFoundationEssentialsCompat
import NodeFiles
import NodeLinux
public import NodeSandbox

/// Takes every stream that the controller opens to what answers it.
public struct NodeRouter: Sendable {
    let sandboxes: SandboxManager
    let reporter: NodeReporter
    let logger: Logger
    var ended: EndedExecs { sandboxes.ended }
    private let workspaces: Workspaces

    public init(sandboxes: SandboxManager, reporter: NodeReporter, logger: Logger) {
        self.sandboxes = sandboxes
        self.reporter = reporter
        self.logger = logger
        workspaces = Workspaces(sandboxes: sandboxes)
    }

    /// Serves one stream to its end, on the link's event loop as far as that does not hold up others. Never throws: an error is the
    /// stream's answer.
    public func serve(_ stream: MuxStream) async {
        do {
            let opening = Data(buffer: stream.opening)
            let head = try NodeRequestHead(opening: opening)
            let call = NodeCall(stream: stream, opening: opening, requestID: head.requestID)
            defer { call.uses.end() }
            do {
                if head.method.isPrompt {
                    try await route(head.method, call)
                } else {
                    try await withTaskExecutorPreference(globalConcurrentExecutor) {
                        try await route(head.method, call)
                    }
                }
            } catch {
                await fail(call, head.method, error)
            }
        } catch {
            stream.reset(FastableError.unexpected(error, doing: "reading the request"))
        }
    }

    private func route(_ method: NodeMethod, _ call: NodeCall) async throws {
        switch method {
        case .hello, .report, .transitions, .renewCertificate:
            throw FastableError(.invalid, "‘\(method.rawValue)’ is not for a node to serve.")
        case .containerEnsure: try await ensure(call)
        case .containerStatus: try await status(call)
        case .containerSuspend: try await suspend(call)
        case .containerResume: try await resume(call)
        case .containerStop: try await stop(call)
        case .containerExplain: try await explain(call)
        case .containerKeepAwake: try await keepAwake(call)
        case .containerPolicy: try await setPolicy(call)
        case .containerLimits: try await setLimits(call)
        case .projectPrepare:
            try await call.answer { (spec: ContainerSpec) in
                _ = try await sandboxes.volume(spec)
                return Empty()
            }
        case .projectDelete: try await deleteProject(call)
        case .projectRelease: try await releaseProject(call)
        case .projectSetAside: try await setAsideProject(call)
        case .execStart: try await startExec(call)
        case .execAttach: try await attachExec(call)
        case .execStatus: try await execStatus(call)
        case .execKill: try await killExec(call)
        case .execQuery: try await queryExecs(call)
        case .fsRead: try await onFiles(call) { try await $0.read($1) }
        case .fsWrite: try await onFiles(call) { try await $0.write($1) }
        case .fsEdit: try await onFiles(call) { try await $0.edit($1) }
        case .fsList: try await onFiles(call) { try await $0.list($1) }
        case .fsGlob: try await onFiles(call) { try await $0.glob($1) }
        case .fsGrep: try await onFiles(call) { try await $0.grep($1) }
        case .fsGlobStream: try await streamGlob(call)
        case .fsGrepStream: try await streamGrep(call)
        case .fsDelete: try await onFiles(call) { try await $0.delete($1) }
        case .fsStat: try await onFiles(call) { try await $0.stat($1) }
        case .fsMakeDirectory: try await onFiles(call) { try await $0.makeDirectory($1) }
        case .fsMove: try await onFiles(call) { try await $0.move($1) }
        case .fsCopy: try await onFiles(call) { try await $0.copy($1) }
        case .fsChangeMode: try await onFiles(call) { try await $0.changeMode($1) }
        case .fsWatch: try await watch(call)
        case .fileDownload: try await download(call)
        case .fileUpload: try await upload(call)
        case .treePush: try await pushTree(call)
        case .treePull: try await pullTree(call)
        case .snapshotRead: try await readSnapshot(call)
        case .snapshotRestore: try await restoreSnapshot(call)
        case .checkpointCreate: try await makeCheckpoint(call)
        case .checkpointRollback: try await rollBack(call)
        case .checkpointList: try await listCheckpoints(call)
        case .checkpointRemove: try await removeCheckpoint(call)
        case .projectFork: try await fork(call)
        case .imageList:
            try await call.answer { (_: Empty) in
                let images = sandboxes.images
                return ImageListResult(images: try await BlockingPool.shared.run { try images.list() })
            }
        case .imageAdd: try await addImage(call)
        case .imageRemove: try await removeImage(call)
        case .killApply:
            try await call.answer { (order: KillOrder) in await sandboxes.apply(order) }
            await reporter.reportNow()
        case .idleSweep:
            try await call.answer { (sweep: IdleSweep) in await sandboxes.sweepIdle(sweep) }
            await reporter.reportNow()
        }
    }

    private func fail(_ call: NodeCall, _ method: NodeMethod, _ error: any Error) async {
        let failure = Self.shortage(error) ?? .unexpected(error, doing: "serving ‘\(method.rawValue)’")
        if failure.code == .internal {
            logger.error(
                "A request failed.",
                metadata: ["request": "\(call.requestID)", "method": "\(method.rawValue)", "error": "\(failure)"])
        }
        do {
            switch method {
            // These answer with events or bytes, among which an error has no place.
            case .execStart, .execAttach, .treePull, .fsGlobStream, .fsGrepStream: call.stream.reset(failure)
            case .hello, .report, .transitions, .renewCertificate, .containerEnsure, .containerStatus,
                .containerSuspend,
                .containerResume, .containerStop, .containerExplain, .containerKeepAwake, .containerPolicy,
                .containerLimits, .projectPrepare, .projectDelete, .projectRelease, .projectSetAside, .execStatus,
                .execKill, .execQuery, .fsRead, .fsWrite, .fsEdit, .fsList, .fsGlob, .fsGrep, .fsDelete, .fsStat,
                .fsMakeDirectory, .fsMove, .fsCopy, .fsChangeMode, .fsWatch, .fileDownload, .fileUpload,
                .treePush, .snapshotRead, .snapshotRestore, .checkpointCreate, .checkpointRollback, .checkpointList,
                .checkpointRemove, .projectFork, .imageList, .imageAdd, .imageRemove, .killApply, .idleSweep:
                try await call.reply(NodeReply<Empty>.failure(failure))
            }
        } catch {
            // The controller has reset the stream or the link is gone: nobody waits for the answer.
            call.stream.reset(failure)
        }
    }

    /// What has passed by all who would know what it means there.
    private static func shortage(_ error: any Error) -> FastableError? {
        guard let error = error as? Errno, [EMFILE, ENFILE, ENOMEM].contains(error.number) else { return nil }
        return FastableError(
            .unavailable, "The node is short of memory or open files. Try again.", context: "\(error)",
            retryAfterSeconds: 1)
    }

    // MARK: containers and images

    private func ensure(_ call: NodeCall) async throws {
        let tell: @Sendable (StartProgress) async throws -> Void = {
            try await call.send(ContainerEnsureAnswer.starting($0))
        }
        try await call.answer { (wish: ContainerEnsure) in
            _ = try await sandboxes.ensure(wish.container, telling: wish.wantsStart == true ? tell : nil)
            return try await status(of: wish.container.project)
        }
        await reporter.reportNow()
    }

    private func status(_ call: NodeCall) async throws {
        try await call.answer { (project: ProjectReference) in try await status(of: project.project) }
    }

    func status(of project: ProjectID) async throws -> ContainerStatus {
        if let status = await sandboxes.status(project) { return status }
        throw FastableError(.notFound, "The node has nothing of the project ‘\(project)’ yet.")
    }

    private func deleteProject(_ call: NodeCall) async throws {
        try await call.answer { (project: ProjectReference) in
            workspaces.forget(project.project)
            try await sandboxes.delete(project.project)
            // A call that came meanwhile may have opened it again.
            workspaces.forget(project.project)
            return Empty()
        }
    }

    private func releaseProject(_ call: NodeCall) async throws {
        try await call.answer { (request: ProjectRelease) in
            workspaces.forget(request.project)
            try await sandboxes.release(request)
            // The project may come back to this node, to another directory.
            workspaces.forget(request.project)
            return Empty()
        }
        await reporter.reportNow()
    }

    private func setAsideProject(_ call: NodeCall) async throws {
        try await call.answer { (departure: ProjectDeparture) in
            workspaces.forget(departure.project)
            defer { workspaces.forget(departure.project) }
            return try await sandboxes.setAside(departure)
        }
        await reporter.reportNow()
    }

    /// The report goes out before the answer: who asked may place a project on the new image at once.
    private func addImage(_ call: NodeCall) async throws {
        try await call.answer { (image: ImageAdd) in
            let scheme = "inplace:"
            guard image.source.hasPrefix(scheme) else { return try await add(image, inPlace: false) }
            return try await add(
                ImageAdd(name: image.name, source: "dir:" + image.source.dropFirst(scheme.count)), inPlace: true)
        }
    }

    private func add(_ image: ImageAdd, inPlace: Bool) async throws -> ImageInfo {
        if !inPlace { try await sandboxes.checkSpaceForImage() }
        let added = try await sandboxes.images.add(image, inPlace: inPlace)
        await reporter.reportNow()
        return added
    }

    private func removeImage(_ call: NodeCall) async throws {
        try await call.answer { (image: ImageName) in
            try await sandboxes.removeImage(image.name)
            await reporter.reportNow()
            return Empty()
        }
    }

    // MARK: files

    private func onFiles<Arguments: Codable & Sendable, Value: Codable & Sendable>(
        _ call: NodeCall, _ body: (FileService, Arguments) async throws -> Value
    ) async throws {
        try await call.answer { (file: FileCall<Arguments>) in
            try await body(try await files(of: file.project, call), file.arguments)
        }
    }

    /// The project's files, which the call uses until it was served.
    func files(of project: ProjectID, _ call: NodeCall) async throws -> FileService {
        if let use = try sandboxes.usesFiles(of: project) {
            use.whenCut { call.stream.reset(Self.leaving) }
            call.uses.add(use)
        }
        return try await workspaces.files(of: project)
    }

    private static let leaving = FastableError(
        .unavailable, "The project moves to another node. Try again.", retryAfterSeconds: 1)

    /// For a look that is no use of the project.
    func unusedFiles(of project: ProjectID) async throws -> FileService { try await workspaces.files(of: project) }
}

extension NodeMethod {
    /// Serving it neither computes for long nor waits for the disk: the link's event loop does it.
    fileprivate var isPrompt: Bool {
        switch self {
        case .execStart, .execAttach, .execStatus: true
        default: false
        }
    }
}
