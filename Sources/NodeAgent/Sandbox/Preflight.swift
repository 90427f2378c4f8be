import FastableCore
import Glibc
import NodeLinux

/// What a host must offer. Each check that fails says what is missing and how to get it.
package struct Preflight {
    let configuration: SandboxConfiguration

    package init(_ configuration: SandboxConfiguration) { self.configuration = configuration }

    /// Oldest kernel whose overlay takes id-mapped lower layers.
    static let kernel = (major: 5, minor: 19)

    /// Throws the first problem. Answers the runtime's version.
    package func run() async throws -> String {
        try Self.checkUser(geteuid())
        try Self.checkKernel(Self.kernelRelease())
        try checkDirectories()
        try checkInit()
        for tool in Self.tools { try await Self.check(tool) }
        if configuration.projectDiskBytes != nil {
            try ProjectDisk.checkLoopDevices()
            try await Self.check(Tool("mkfs.ext4", asked: "-V"))
        }
        let version = try await RuncRuntime(
            program: configuration.runtime, stateDirectory: configuration.paths.runtime
        ).version()
        try Self.checkRuntime(version, isHybrid: Mounts.isCgroup2("/sys/fs/cgroup/unified"))
        return version
    }

    /// Reads `crun 1.8.1`. Runtimes that nobody has tried may work.
    ///
    /// - Parameter isHybrid: the host's control groups are of both versions.
    package static func checkRuntime(_ version: String, isHybrid: Bool) throws {
        if version.hasPrefix("runsc ") {
            throw FastableError(
                .unavailable,
                "gVisor's ‘runsc’ cannot run this node's containers: their init works with open files of the host, which gVisor keeps "
                    + "out. Set the runtime to runc or crun.")
        }
        if version.hasPrefix("crun "), isHybrid {
            throw FastableError(
                .unavailable,
                "‘crun’ starts no container on a host with control groups of both versions. Set the runtime to runc, or boot with "
                    + "systemd.unified_cgroup_hierarchy=1.")
        }
    }

    /// A program of the host, and how it is asked whether it works.
    package struct Tool: Sendable {
        package var name: String
        package var question: String

        package init(_ name: String, asked question: String = "--version") {
            self.name = name
            self.question = question
        }
    }

    package static let tools = [Tool("ip", asked: "-V"), Tool("nft"), Tool("nsenter"), Tool("rg")]

    package static func check(_ tool: Tool) async throws {
        try await HostCommand(tool.name, [tool.question]).runChecked("run ‘\(tool.name)’")
    }

    /// What a node can do without for as long as nobody adds an image that is to be unpacked.
    package static func warnings(
        isInstalled: (String) -> Bool = HostTools.isInstalled
    ) -> [String] {
        [
            ("skopeo", "images cannot be pulled from registries"),
            ("umoci", "images cannot be unpacked from OCI layouts"),
        ]
        .filter { !isInstalled($0.0) }
        .map { tool, loss in "\(tool) is not installed, so \(loss): apt-get install \(tool)" }
    }

    package static func checkUser(_ user: UInt32) throws {
        guard user != 0 else { return }
        throw FastableError(
            .forbidden,
            "fastable-node must run as root: it makes namespaces, mounts and network links. Start it with sudo.")
    }

    static func kernelRelease() -> String {
        var facts = utsname()
        uname(&facts)
        return withUnsafeBytes(of: &facts.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Reads `6.1.0-18-amd64`.
    package static func checkKernel(_ release: String) throws {
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        if numbers.count == 2, (numbers[0], numbers[1]) >= (kernel.major, kernel.minor) { return }
        throw FastableError(
            .unavailable,
            "The kernel \(release) is too old: containers need Linux \(kernel.major).\(kernel.minor) or newer. On Debian 11: "
                + "apt-get install -t bullseye-backports linux-image-amd64")
    }

    private func checkDirectories() throws {
        for (name, path) in [("state", configuration.paths.state), ("run", configuration.paths.run)] {
            do {
                try Directories.make(path, mode: 0o711)
                try Self.checkWritable(path)
            } catch {
                throw FastableError(
                    .unavailable,
                    "The node cannot write to its \(name) directory \(path). Check its owner, its disk and its configuration.",
                    context: "\(error)")
            }
        }
    }

    /// A full disk is no reason to leave the containers alone that run: files can be deleted then.
    private static func checkWritable(_ path: String) throws(Errno) {
        do throws(Errno) {
            _ = try FileDescriptor(opening: path + "/.writable", O_WRONLY | O_CREAT | O_NOFOLLOW, mode: 0o600)
            unlink(path + "/.writable")
        } catch { if error.number != ENOSPC, error.number != EDQUOT { throw error } }
    }

    private func checkInit() throws {
        guard access(configuration.initProgram, R_OK) == 0 else {
            throw FastableError(
                .unavailable,
                "The program fastable-init is not at \(configuration.initProgram). Install it beside fastable-node, or set its path."
            )
        }
    }
}
