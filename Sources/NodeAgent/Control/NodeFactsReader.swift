public import FastableCore
import Glibc
import NodeLinux
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
            facts: await facts(), containers: await sandboxes.statuses(), switches: sandboxes.switchState,
            starts: sandboxes.startLoad)
    }

    private func facts() async -> NodeFacts {
        var system = utsname()
        uname(&system)
        let (images, directory) = (sandboxes.images, stateDirectory)
        // A disk that hangs holds up the reports, and nothing else.
        let (disk, pressure, found, references) =
            (try? await BlockingPool.shared.run { [sandboxes] in
                (
                    DiskSpace(directory), Optional(sandboxes.lookAtDisk()), (try? images.list()) ?? [],
                    try? images.references()
                )
            }) ?? (nil, nil, [], nil)
        return NodeFacts(
            programVersion: Version.text, hostName: Self.text(&system.nodename), kernel: Self.text(&system.release),
            cgroup: sandboxes.cgroupMode, runtime: sandboxes.runtimeVersion, cpus: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            memoryBytes: sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)),
            diskBytes: disk?.totalBytes ?? 0, diskFreeBytes: disk?.freeBytes ?? 0,
            diskFreeFiles: disk?.freeInodes, diskPressure: pressure, diskReclaimed: sandboxes.diskReclaimed,
            images: found.map(\.name), pids: Self.processes, registryImages: references)
    }

    /// What the kernel has numbers and room for.
    private static let processes: Int? = ["pid_max", "threads-max"].compactMap { name in
        guard let text = try? SmallFile.read("/proc/sys/kernel/\(name)", atMost: 64) else { return nil }
        return Int(String(decoding: text, as: UTF8.self).prefix { $0.isNumber })
    }.min()

    private static func text<Field>(_ field: inout Field) -> String {
        withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
