import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials

/// Makes new projects, empty, from a git repository or from a snapshot.
struct ProjectCreation: Sendable {
    let projects: ProjectService
    let execs: ExecService
    let snapshots: SnapshotService
    let defaultImage: String

    /// Throws `unprocessable` naming the field that breaks a rule, or with git's message when the clone failed; the project
    /// does not exist then.
    func create(_ input: ProjectOperations.CreateInput, context: OperationContext) async throws -> Project {
        let origin: ProjectOrigin = input.git.map { .git(url: $0.url, branch: $0.branch) } ?? .empty
        guard input.git == nil || input.snapshot == nil else {
            throw FastableError(
                .unprocessable, "A project begins with a repository or with a snapshot. Give one of the two.",
                details: ["field": "snapshot"])
        }
        let snapshot: Snapshot?
        if let id = input.snapshot {
            snapshot = try await snapshots.snapshot(id, in: context.principal.workspace)
        } else {
            snapshot = nil
        }
        let limits = try await projects.withDisk(input.resourceLimits, in: context.principal.workspace)
        let project = try Project(
            id: ProjectID(), workspace: context.principal.workspace, name: input.name,
            image: input.image ?? snapshot?.image ?? defaultImage, limits: limits,
            environment: input.environment ?? [:],
            origin: origin, createdAt: .nowMilliseconds
        ).validated()
        // With content it does more than to be noted.
        if snapshot != nil || input.git != nil { try await projects.kills.checkStart(project) }
        try await projects.requireImage(project.image, for: project)
        guard snapshot != nil || input.git != nil else {
            try await projects.store.createProject(project)
            return project
        }
        try await projects.create(project, request: context.requestID) {
            if case .git(let url, let branch) = origin {
                try await clone(url, branch, into: project, context)
            } else if let snapshot {
                _ = try await snapshots.restore(snapshot, into: project, keepingAs: nil, context: context)
            }
        }
        return try await projects.resolve(project.id.description, for: context.principal)
    }

    /// Git runs in the container, with its arguments as they are: no shell sees the URL, and the host never runs git.
    private func clone(_ url: String, _ branch: String?, into project: Project, _ context: OperationContext)
        async throws
    {
        try await context.events?(.progress(message: "Cloning the repository.", fraction: nil))
        let branchArguments = branch.map { ["--branch", $0] } ?? []
        let command = ExecCommand(
            arguments: ["git", "clone"] + branchArguments + ["--", url, "/workspace"], workingDirectory: "/",
            environment: ["GIT_TERMINAL_PROMPT": "0"], timeoutMilliseconds: Limits.gitCloneSeconds * 1000)
        let outcome = try await execs.run(
            ExecService.Order(command: command, line: "git clone"), in: project, for: .init(context.requestID),
            collectsOutput: true, listener: nil)
        guard outcome.result.exitCode != 0 else { return }
        let message = outcome.stderr.text.visible.trimmed
        let why = outcome.result.timedOut ? "it took more than \(Limits.gitCloneSeconds) seconds" : message.lastLine
        throw FastableError(
            .unprocessable, "The repository could not be cloned: \(why). The project was not created.",
            details: [
                "field": "git", "stderr": .string(String(message.suffix(Limits.gitMessageCharacters))),
                "exitCode": outcome.result.exitCode.map { .integer(Int64($0)) } ?? .null,
            ])
    }
}

extension String {
    /// Without control characters: the remote writes a part of this, and people read it in a terminal.
    fileprivate var visible: String {
        var scalars = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            let isControl = scalar.properties.generalCategory == .control && scalar != "\n" && scalar != "\t"
            scalars.append(isControl ? "\u{fffd}" : scalar)
        }
        return String(scalars)
    }

    fileprivate var trimmed: String {
        let start = firstIndex { !$0.isWhitespace } ?? endIndex
        guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(self[start...last])
    }

    fileprivate var lastLine: String { split(separator: "\n").last.map { $0.trimmingDot } ?? "git gave no reason" }
}

extension Substring {
    fileprivate var trimmingDot: String { String(hasSuffix(".") ? dropLast() : self) }
}
