public import FastableCore
import Glibc
public import NodeSandbox

/// Reads what this host is.
public struct NodeFactsReader: Sendable {
    private let sandboxes: SandboxManager
    private let stateDirectory: String

    public init(sandboxes: SandboxManager, stateDirectory: String) {
        self.sandboxes = sandboxes
        self.stateDirectory = stateDirectory
    }

    public func report() async -> NodeReport {
        NodeReport(
            facts: facts(), containers: await sandboxes.statuses(), switches: sandboxes.switchState)
    }

    private func facts() -> NodeFacts {
        var system = utsname()
        uname(&system)
        let disk = DiskSpace(stateDirectory)
        return NodeFacts(
            programVersion: Version.text, hostName: Self.text(&system.nodename), kernel: Self.text(&system.release),
            cgroup: sandboxes.cgroupMode, runtime: sandboxes.runtimeVersion, cpus: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            memoryBytes: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)),
            diskBytes: disk?.totalBytes ?? 0, diskFreeBytes: disk?.freeBytes ?? 0,
            images: ((try? sandboxes.images.list()) ?? []).map(\.name))
    }

    private static func text<Field>(_ field: inout Field) -> String {
        withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
