import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import FoundationEssentials
import TestSupport
import Testing

/// Each operation has an authorization test. `AuthorizationTests` runs over the catalogue instead of naming operations, which
/// proves as much as the catalogue is complete and the run leaves nothing out: that is checked here.
@Suite("Every operation is tried without its scope")
struct OperationTests {
    /// Every property of type `Operation` in the sources is in the catalogue that the controller is built with.
    @Test func theCatalogueIsComplete() async throws {
        var declared: [String] = []
        for file in try SourceTree.files(below: "Sources/Controller/Services/Operations", extensions: ["swift"]) {
            declared += file.text.matches(of: /var (\w+): Operation \{/).map { "\($0.output.1) in \(file.path)" }
        }
        let names = try await Self.catalogue().map(\.name)
        #expect(names.count > 20, "the catalogue must have been built")
        #expect(Set(names).count == names.count, "two operations have one name: \(names)")
        #expect(names.count == declared.count, "declared: \(declared); in the catalogue: \(names)")
    }

    /// The two tests of scopes take the catalogue as it is, without a condition that lets an operation out.
    @Test func theTestsOfScopesLeaveNothingOut() throws {
        let tests = try Self.authorizationTests()
        for name in ["withoutTheScopeItIsForbiddenAndAudited", "withTheScopeAloneItIsPermitted"] {
            let body = try #require(tests.components(separatedBy: "func \(name)(").dropFirst().first)
            let test = body.components(separatedBy: "@Test").first ?? body
            #expect(test.contains("for operation in world.services.catalog.operations {"), "\(name)")
            #expect(!test.contains("continue") && !test.contains("break"), "\(name) must not leave out an operation")
        }
    }

    /// What carries raw bytes passes the gate beside the catalogue, under names that the test of raw bytes must know.
    @Test func everyGatedNameIsTried() throws {
        let tests = try Self.authorizationTests()
        var names: Set<String> = []
        for file in try SourceTree.files(below: "Sources/Controller/Services", extensions: ["swift"]) {
            names.formUnion(file.text.matches(of: /\bpass\(\s*"([a-z_.]+)"/).map { String($0.output.1) })
        }
        #expect(names.count >= 6, "the scan must have found the transfers: \(names)")
        for name in names { #expect(tests.contains("\"\(name)\""), "AuthorizationTests does not try ‘\(name)’") }
    }

    private static func authorizationTests() throws -> String {
        let path = "Tests/ServicesTests/AuthorizationTests.swift"
        return try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
    }

    private static func catalogue() async throws -> [Operation] {
        try await withTemporaryDirectory { directory in
            let store = try SQLiteStore(path: directory + "/controller.db")
            defer { try? store.close() }
            _ = try await store.bootstrap(now: Date())
            let endpoints = ControllerServices.Endpoints(apiURL: "http://127.0.0.1:1", nodeListener: .loopback(port: 1))
            let services = ControllerServices(
                store: store, nodes: NodeRegistry(), authority: try CertificateAuthority(at: Date()),
                configuration: .init(
                    endpoints: endpoints, tokenFile: directory + "/token", snapshotDirectory: directory + "/snapshots"),
                logger: .quiet)
            return services.catalog.operations
        }
    }
}
