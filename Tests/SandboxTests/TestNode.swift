import FastableCore
import FoundationEssentials
import Glibc
import Logging
import NIOCore
import NIOPosix
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// A node instance of the test's own: its name, directories, addresses, rules and groups are nobody else's.
final class TestNode {
    /// The OCI runtime of the nodes that a test makes.
    @TaskLocal static var runtime = "runc"

    let directory: TemporaryDirectory
    private(set) var configuration: SandboxConfiguration
    private(set) var manager: SandboxManager

    private init(_ directory: TemporaryDirectory, _ configuration: SandboxConfiguration) async throws {
        self.directory = directory
        self.configuration = configuration
        manager = try await Self.open(configuration)
    }

    private static func open(
        _ configuration: SandboxConfiguration, _ given: Logger? = nil
    ) async throws -> SandboxManager {
        var quiet = Logger(label: "test")
        quiet.logLevel = getenv("FASTABLE_TEST_LOG") == nil ? .critical : .debug
        let logger = given ?? quiet
        let group = MultiThreadedEventLoopGroup.singleton
        let manager = try await SandboxManager(configuration, group: group, logger: logger)
        try await manager.recover()
        return manager
    }

    /// The daemon ends and starts again. Its connections are closed, as the kernel closes those of a process that was killed;
    /// nothing else is told or written.
    func restart(_ logger: Logger? = nil, _ adjust: (inout SandboxConfiguration) -> Void = { _ in }) async throws {
        await manager.close()
        adjust(&configuration)
        manager = try await Self.open(configuration, logger)
    }

    /// Runs a test on a node with the image ‘tiny’, then removes the node and looks for what it left.
    static func with(
        _ adjust: (inout SandboxConfiguration) throws -> Void = { _ in }, _ body: (TestNode) async throws -> Void
    ) async throws {
        // Containers look up their files below it.
        let directory = try TemporaryDirectory(mode: 0o711)
        let name = "t" + String(UInt32.random(in: .min ... .max), radix: 36)
        var configuration = SandboxConfiguration(
            paths: try NodePaths(instance: name, state: directory.path + "/s", run: directory.path + "/r"),
            initProgram: try #require(Host.initProgram))
        configuration.killProofMilliseconds = 60_000
        configuration.runtime = runtime
        try adjust(&configuration)
        let node = try await TestNode(directory, configuration)
        do {
            let rootfs = directory.path + "/tiny"
            try TinyImage.make(at: rootfs)
            _ = try await node.manager.images.adopt(rootfs, name: "tiny", source: "dir:\(rootfs)")
            try await body(node)
        } catch {
            await node.end()
            throw error
        }
        await node.end()
    }

    private func end() async {
        do {
            try await manager.tearDownAll()
            try await manager.releaseBlock()
        } catch { Issue.record("the node could not be removed: \(error)") }
        let left = await Leftovers.of(self)
        #expect(left.isEmpty, "left behind: \(left)")
    }

    // MARK: work

    func project(limits: ResourceLimits = ResourceLimits()) -> ContainerSpec {
        ContainerSpec(project: ProjectID(), workspace: WorkspaceID(), image: "tiny", limits: limits)
    }

    struct Output {
        /// The exit status, or 128 and the signal.
        var status: Int32
        var out: String
        var err: String
        var limitHit: LimitHit?
    }

    /// Runs a shell command in the project's container.
    @discardableResult
    func sh(_ spec: ContainerSpec, _ script: String, timeoutMilliseconds: Int = 600_000) async throws -> Output {
        try await Self.collect(try await start(spec, script, timeoutMilliseconds: timeoutMilliseconds))
    }

    func start(
        _ spec: ContainerSpec, _ script: String, timeoutMilliseconds: Int = 600_000
    ) async throws -> ExecSession {
        let container = try await manager.ensure(spec)
        let command = ExecCommand(
            arguments: ["/bin/sh", "-c", script], environment: ["PATH": "/bin"],
            timeoutMilliseconds: timeoutMilliseconds)
        return try await container.start(exec: ExecID(), command: command, user: ExecUser(uid: 0, gid: 0))
    }

    static func collect(_ session: ExecSession) async throws -> Output {
        var bytes: [UInt8: [UInt8]] = [:]
        for try await chunk in session.events() {
            switch chunk {
            case .data(let channel, let buffer): bytes[channel, default: []] += Array(buffer.readableBytesView)
            case .finished(let result):
                let status = result.exitCode ?? (result.signal == "SIGKILL" ? 137 : 255)
                return Output(
                    status: status, out: String(decoding: bytes[1] ?? [], as: UTF8.self),
                    err: String(decoding: bytes[2] ?? [], as: UTF8.self), limitHit: result.limitHit)
            case .started, .inputPassed, .gap: break
            }
        }
        throw FastableError(.internal, "a command had no end")
    }

    /// The number of the container's init on the host.
    func pid(_ spec: ContainerSpec) throws -> Int32 {
        let record = configuration.paths.project(spec.project).record
        let json = try JSON.decode(
            JSONValue.self, from: Data(try #require(try SmallFile.read(record, atMost: 1 << 20))))
        return Int32(try #require(json["process"]?["pid"]?.integer))
    }
}

/// A root file system of nothing but busybox.
enum TinyImage {
    static func make(at path: String) throws {
        for directory in ["", "/bin", "/etc", "/tmp", "/root", "/usr", "/var"] { mkdir(path + directory, 0o755) }
        chmod(path + "/tmp", 0o1777)
        let program = try #require(Host.busybox)
        let busybox = try #require(try SmallFile.read(program, atMost: 64 << 20))
        try AtomicFile.write(path + "/bin/busybox", busybox, mode: 0o755)
        for applet in [
            "sh", "cat", "chmod", "dd", "echo", "env", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls",
            "mkdir",
            "mknod", "mount", "nc", "nslookup", "ping", "ps", "rm", "sleep", "stat", "tail", "test", "touch", "true",
            "unshare",
            "wc", "wget", "chown", "su", "sort", "df", "setsid", "tr",
        ] { symlink("busybox", path + "/bin/" + applet) }
        try AtomicFile.write(
            path + "/etc/passwd", Array("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n".utf8), mode: 0o644)
        try AtomicFile.write(path + "/etc/image", Array("tiny\n".utf8), mode: 0o644)
    }
}

/// What a node has on the machine outside of its data.
enum Leftovers {
    static func of(_ node: TestNode) async -> [String] {
        let paths = node.configuration.paths
        let block = node.manager.block
        var found = NetworkTools.interfaces().filter { $0.hasPrefix(block.interfacePrefix) }.map { "interface \($0)" }
        found += ((try? Mounts.below(node.directory.path)) ?? ["?"]).map { "mount \($0)" }
        found += ((try? await NetworkTools.tables()) ?? ["?"]).filter { $0 == "inet fastable_\(paths.instance)" }
        found += groups(paths.instance).map { "group \($0)" }
        found += processes(of: block).map { "process \($0)" }
        return found
    }

    static func groups(_ instance: String) -> [String] {
        let slice = "/sys/fs/cgroup/fastable.slice/fastable-\(instance)-containers.service"
        let roots = ["/sys/fs/cgroup", slice] + names("/sys/fs/cgroup").map { "/sys/fs/cgroup/" + $0 }
        return roots.map { "\($0)/fastable-\(instance)" }.filter { access($0, F_OK) == 0 }
    }

    /// Processes whose user is one of the block's.
    static func processes(of block: InstanceBlock) -> [String] {
        let ids = UInt64(block.uidBase)..<UInt64(block.uidBase) + 67_108_864
        return names("/proc").filter { name in
            guard Int(name) != nil else { return false }
            var status = stat()
            guard stat("/proc/" + name, &status) == 0, ids.contains(UInt64(status.st_uid)) else { return false }
            // One that has ended and waits for the host's first process to notice is none, nor is one that it noticed
            // since the look above: its file is gone, or can no longer be read.
            guard let line = (try? SmallFile.read("/proc/\(name)/stat", atMost: 4096)).flatMap({ $0 }), !line.isEmpty
            else { return false }
            let text = String(decoding: line, as: UTF8.self)
            return !text[(text.lastIndex(of: ")") ?? text.startIndex)...].hasPrefix(") Z")
        }
    }

    static func names(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.filter { $0 != "." && $0 != ".." }
    }
}
