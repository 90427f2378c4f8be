import Foundation
import TestSupport
import Testing

/// What the node's program says to settings that cannot be meant so, before it touches anything.
@Suite("Settings of a node", .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct NodeSettingsTests {
    /// By a command that reads all settings and changes nothing.
    private static func run(_ arguments: [String]) async throws -> (status: Int32, text: String) {
        let bin = try #require(ProcessInfo.processInfo.environment["FASTABLE_BIN_DIR"])
        let state = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID().uuidString)").path
        let places = ["--instance", "settings", "--state-dir", state, "--run-dir", state + "-run"]
        let answer = try await blocking {
            try Process.output(
                of: URL(fileURLWithPath: bin).appending(path: "fastable-node"),
                ["kill-switch", "status"] + places + arguments)
        }
        for path in [state, state + "-run"] { try? FileManager.default.removeItem(atPath: path) }
        return answer
    }

    private static func expectRefusal(_ arguments: [String], naming setting: String) async throws {
        let (status, text) = try await run(arguments)
        // `EX_CONFIG`
        #expect(status == 78, "\(arguments): \(text)")
        #expect(text.contains(setting) && text.split(separator: "\n").count == 1, "\(arguments): \(text)")
    }

    @Test(
        .endsInTime,
        arguments: [
            "registry.example", "registry.example:", "registry.example:0", "registry.example:05000",
            "registry.example:70000", "registry.example:-1", ":5000", "http://registry.example:5000",
            "registry.example:5000/team", "registry example:5000", "-registry.example:5000", "[::1]:5000", "::1:5000",
            "10.0.0.5:5000,registry.example", "*:5000", "registry.example:5000\n",
        ])
    func aRegistryThatNoImageComesFromIsRefused(_ registries: String) async throws {
        try await Self.expectRefusal(
            ["--images-insecure-registries", registries], naming: "images.insecureRegistries")
    }

    @Test(.endsInTime) func registriesHaveANumberToo() async throws {
        let many = (1...33).map { "10.0.0.\($0):5000" }
        try await Self.expectRefusal(
            ["--images-insecure-registries", many.joined(separator: ",")], naming: "images.insecureRegistries")
        let (status, text) = try await Self.run([
            "--images-insecure-registries", many.dropLast().joined(separator: ","),
        ])
        #expect(status == 0, "\(text)")
    }

    @Test(.endsInTime, arguments: ["10.0.0.5:5000", "registry.example:5000,Registry-2.example:443", "localhost:1"])
    func whatAReferenceBeginsWithIsTaken(_ registries: String) async throws {
        let (status, text) = try await Self.run(["--images-insecure-registries", registries])
        #expect(status == 0, "\(text)")
    }

    @Test(.endsInTime, arguments: ["0", "-1", "60001", "many", "1.5"])
    func aPaceOfStartsIsAWholeNumber(_ pace: String) async throws {
        try await Self.expectRefusal(["--container-starts-per-minute=" + pace], naming: "container")
    }
}
