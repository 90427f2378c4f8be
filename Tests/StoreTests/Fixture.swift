import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport

/// The drivers that the contract tests run against.
enum Driver: CaseIterable, Sendable {
    case sqlite

    func open(in directory: String) throws -> any Store {
        switch self {
        case .sqlite: try SQLiteStore(path: directory + "/state/controller.db")
        }
    }
}

/// A store with a workspace and a node, and what tests make most.
struct Fixture: Sendable {
    let store: any Store
    let directory: String
    let workspace: WorkspaceID
    let other: WorkspaceID
    let node: NodeID

    func project(_ name: String, in workspace: WorkspaceID? = nil, memoryBytes: Int = 1 << 30) -> Project {
        Project(
            id: ProjectID(), workspace: workspace ?? self.workspace, name: name, image: "vibn-dev",
            limits: ResourceLimits(cpus: 0.5, memoryBytes: memoryBytes, pids: 100), environment: ["A": "ä\n\"'"],
            origin: .git(url: "https://host/a", branch: "main"), createdAt: moment)
    }

    /// Stores a project and gives it back.
    @discardableResult
    func add(_ name: String, in workspace: WorkspaceID? = nil) async throws -> Project {
        let project = project(name, in: workspace)
        try await store.createProject(project)
        return project
    }

    func event(_ operation: String = "shell.exec", project: ProjectID? = nil, subject: String = "") -> AuditEvent {
        AuditEvent(
            timeMilliseconds: moment.milliseconds, workspace: workspace,
            actor: AuditEvent.Actor(token: TokenID(), name: "ci"), door: .rest, request: RequestID(),
            operation: operation, project: project, subject: subject, phase: .intent,
            detail: ["cmd": "true", "n": 1, "x": .number(0.1), "nested": ["a": [true, .null]]])
    }
}

let moment = Date(milliseconds: 1_800_000_000_123)

func facts(_ images: [String] = ["vibn-dev"]) -> NodeFacts {
    NodeFacts(
        programVersion: "1", hostName: "host", kernel: "6.1", cgroup: .v2, runtime: "runc 1.1.5", cpus: 4,
        memoryBytes: 1 << 33, diskBytes: 1 << 40, diskFreeBytes: 1 << 39, images: images)
}

/// Runs the body with a fresh store in a directory of its own, and removes both.
func withStore(_ driver: Driver = .sqlite, _ body: (Fixture) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in try await withStore(driver, in: directory, body) }
}

/// Runs the body with a fresh store in a directory that is there.
func withStore(
    _ driver: Driver = .sqlite, in directory: String, _ body: (Fixture) async throws -> Void
) async throws {
    let store = try driver.open(in: directory)
    defer { try? store.close() }
    let workspace = try await store.bootstrap(now: moment)
    let other = Workspace(id: WorkspaceID(), name: "other", createdAt: moment)
    try await store.createWorkspace(other)
    let node = NodeRecord(id: NodeID(), name: "build-1", createdAt: moment)
    try await store.createNode(node)
    try await body(
        Fixture(store: store, directory: directory, workspace: workspace.id, other: other.id, node: node.id))
}
