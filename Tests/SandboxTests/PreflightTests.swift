import FastableCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// One clear sentence for each thing that a host may lack.
@Suite struct PreflightTests {
    @Test(arguments: ["5.18.19", "4.19.0-27-amd64", "5.4", "3.10.0-1160.el7.x86_64", "nonsense", ""])
    func anOldKernelIsRefused(_ release: String) {
        let error = #expect(throws: FastableError.self) { try Preflight.checkKernel(release) }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("5.19") == true)
    }

    @Test(arguments: ["5.19.0", "6.1.0-18-amd64", "6.18.44-fc", "10.0"])
    func aNewerKernelIsTaken(_ release: String) throws { try Preflight.checkKernel(release) }

    /// Searches need it: a node without would fail them one by one.
    @Test func everyToolThatANodeCallsIsChecked() async throws {
        #expect(Set(Preflight.tools.map(\.name)).isSuperset(of: ["ip", "nft", "nsenter", "rg"]))
        for tool in Preflight.tools where HostTools.isInstalled(tool.name) { try await Preflight.check(tool) }
        let error = await #expect(throws: FastableError.self) { try await Preflight.check(.init("no-such-tool")) }
        #expect(error?.code == .unavailable && error?.message.contains("apt-get install no-such-tool") == true)
    }

    @Test(arguments: [([], 2), (["skopeo"], 1), (["umoci"], 1), (["skopeo", "umoci"], 0)] as [([String], Int)])
    func whatOnlyImagesNeedIsAWarning(installed: [String], count: Int) {
        let warnings = Preflight.warnings { installed.contains($0) }
        #expect(warnings.count == count)
        for warning in warnings { #expect(warning.contains("apt-get install"), "\(warning)") }
        #expect(!warnings.contains { warning in installed.contains { warning.hasPrefix($0) } })
    }

    @Test func anybodyButRootIsRefused() {
        let error = #expect(throws: FastableError.self) { try Preflight.checkUser(1000) }
        #expect(error?.message.contains("sudo") == true)
    }

    static func configuration(
        _ directory: TemporaryDirectory, state: String? = nil, initProgram: String = "/bin/true",
        runtime: String = "runc"
    ) throws -> SandboxConfiguration {
        SandboxConfiguration(
            paths: try NodePaths(
                instance: "t", state: state ?? directory.path + "/state", run: directory.path + "/run"),
            initProgram: initProgram, runtime: runtime)
    }

    @Test(.needsRoot)
    func aMissingRuntimeNamesItsPackage() async throws {
        let directory = try TemporaryDirectory()
        let configuration = try Self.configuration(directory, runtime: "runc-that-is-not-there")
        let error = await #expect(throws: FastableError.self) { try await Preflight(configuration).run() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("apt-get install") == true)
    }

    @Test func aRuntimeThatCannotIsRefused() throws {
        for version in ["runc 1.1.5+ds1", "youki 0.5.0"] {
            for isHybrid in [false, true] { try Preflight.checkRuntime(version, isHybrid: isHybrid) }
        }
        try Preflight.checkRuntime("crun 1.8.1", isHybrid: false)
        for (version, isHybrid) in [("crun 1.8.1", true), ("runsc release-20221219.0", false)] {
            let error = #expect(throws: FastableError.self) {
                try Preflight.checkRuntime(version, isHybrid: isHybrid)
            }
            #expect(error?.code == .unavailable && error?.message.contains("runc") == true)
        }
    }

    @Test(.needsRoot)
    func aMissingInitIsNamed() async throws {
        let directory = try TemporaryDirectory()
        let configuration = try Self.configuration(directory, initProgram: "/nowhere/fastable-init")
        let error = await #expect(throws: FastableError.self) { try await Preflight(configuration).run() }
        #expect(error?.message.contains("/nowhere/fastable-init") == true)
    }

    @Test(.needsRoot)
    func aStateDirectoryThatCannotBeWrittenIsNamed() async throws {
        let directory = try TemporaryDirectory()
        let configuration = try Self.configuration(directory, state: "/proc/state")
        let error = await #expect(throws: FastableError.self) { try await Preflight(configuration).run() }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("/proc/state") == true)
    }
}
