import ControllerDomain
import FastableCore
import FoundationEssentials
import Testing

@Suite struct RecordTests {
    private let now = Date(milliseconds: 1_800_000_000_000)

    private func project(
        name: String = "demo", image: String = "vibn-dev", limits: ResourceLimits = ResourceLimits(),
        environment: [String: String] = [:], origin: ProjectOrigin = .empty
    ) -> Project {
        Project(
            id: ProjectID(), workspace: WorkspaceID(), name: name, image: image, limits: limits,
            environment: environment,
            origin: origin, createdAt: now)
    }

    @Test func theSystemWorkspaceIsAlwaysTheSame() {
        #expect(WorkspaceID.system.description == "wsp_0000000000e008000000000000")
        #expect(WorkspaceID(WorkspaceID.system.description) == .system)
    }

    @Test func aProjectIsCheckedWhole() throws {
        #expect(try project().validated().name == "demo")
        let git = ProjectOrigin.git(url: "https://host/a", branch: "main")
        #expect(try project(origin: git).validated().origin == git)
        refuses(field: "name") { _ = try project(name: "-").validated() }
        refuses(field: "image") { _ = try project(image: "a/b").validated() }
        refuses(field: "memoryBytes") { _ = try project(limits: ResourceLimits(memoryBytes: 1)).validated() }
        refuses(field: "environment.1") { _ = try project(environment: ["1": ""]).validated() }
        refuses(field: "url") { _ = try project(origin: .git(url: "file:///a", branch: nil)).validated() }
        refuses(field: "branch") { _ = try project(origin: .git(url: "https://host/a", branch: "-x")).validated() }
    }

    @Test func aProjectKnowsItsStateAndSpec() {
        var project = project(environment: ["A": "1"])
        #expect(project.state == .active)
        #expect(project.containerSpec.project == project.id)
        #expect(project.containerSpec.workspace == project.workspace)
        #expect(project.containerSpec.image == "vibn-dev")
        #expect(project.containerSpec.environment == ["A": "1"])
        project.deletedAt = now
        #expect(project.state == .deleting)
    }

    @Test func keysTellIDsFromNames() {
        let project = ProjectID()
        #expect(ProjectKey(project.description) == .id(project))
        #expect(ProjectKey("demo") == .name("demo"))
        #expect(ProjectKey("prj_tooshort") == .name("prj_tooshort"))
        #expect(ProjectKey(NodeID().description).description.hasPrefix("nod_"))
        let node = NodeID()
        #expect(NodeKey(node.description) == .id(node))
        #expect(NodeKey("build-1") == .name("build-1"))
        #expect(NodeKey("build-1").description == "build-1")
    }

    @Test func aNodeIsShownByWhatCanBeDoneWithIt() {
        var node = NodeRecord(id: NodeID(), name: "build-1", createdAt: now)
        #expect(node.state(connected: true) == .ready)
        #expect(node.state(connected: false) == .offline)
        node.scheduling = .cordoned
        #expect(node.state(connected: true) == .cordoned)
        #expect(node.state(connected: false) == .offline)
        node.scheduling = .removed
        #expect(node.state(connected: true) == .removed)
        #expect(node.state(connected: false) == .removed)
    }

    @Test func aTokenEndsByRevocationOrExpiry() {
        var token = TokenRecord(
            id: TokenID(), workspace: WorkspaceID(), name: "ci", scopes: [.exec], createdAt: now)
        #expect(token.lookup(at: now) == .usable(token))
        #expect(token.principal.scopes == [.exec])
        #expect(token.principal.workspace == token.workspace)
        token.expiresAt = now
        #expect(token.lookup(at: now.addingTimeInterval(-0.001)) == .usable(token))
        #expect(token.lookup(at: now) == .expired(token))
        token.revokedAt = now
        #expect(token.lookup(at: now) == .revoked(token))
    }

    @Test func aTokenHashHasThirtyTwoBytes() {
        #expect(TokenHash([UInt8](repeating: 1, count: 32))?.bytes.count == 32)
        #expect(TokenHash([UInt8](repeating: 1, count: 31)) == nil)
        #expect(TokenHash([UInt8](repeating: 1, count: 33)) == nil)
    }
}
