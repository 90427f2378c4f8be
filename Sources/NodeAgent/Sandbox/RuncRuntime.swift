import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// `runc`, and what has the same command line.
struct RuncRuntime: ContainerRuntime {
    /// A name that is looked up on the host, or an absolute path.
    var program = "runc"
    /// Where it keeps its state: one directory per instance, so that instances do not see each other.
    var stateDirectory: String
    private let sealed = SealedProgram()
    /// It is a program of Go that ends after some milliseconds: more threads and a collected heap cost it more than they give. The
    /// container's first process does not inherit this.
    private static let environment = HostCommand.minimalEnvironment.merging(["GOMAXPROCS": "1", "GOGC": "off"]) { $1 }

    func version() async throws -> String {
        // “runc version 1.1.5+ds1”, then lines about its parts.
        let text = try await HostCommand(program, ["--version"]).runChecked("ask the container runtime for its version")
            .text
        let words = text.prefix { $0 != "\n" }.split(separator: " ")
        guard words.count >= 3, let name = words.first, let version = words.last else { return program }
        return "\(name) \(version)"
    }

    func run(_ container: ContainerID, paths: ContainerPaths, listener: CInt) async throws -> Int32 {
        let pidFile = paths.directory + "/init.pid"
        let nowhere = try FileDescriptor(opening: "/dev/null", O_RDWR)
        // The container's first process keeps these descriptors for its whole life: the pipes of this call must not be among
        // them, and its messages come by the log.
        let command = HostCommand(
            program,
            arguments([
                "--log", paths.runtimeLog, "--log-format", "json", "run", "--detach", "--bundle", paths.bundle,
                "--pid-file",
                pidFile, "--preserve-fds", "1", container.description,
            ]),
            environment: Self.environment,
            inheritedDescriptors: [
                .init(nowhere.number, as: 1), .init(nowhere.number, as: 2), .init(listener, as: 3),
            ], sealed: sealed)
        let result = try await command.run()
        try nowhere.close()
        guard result.status.isSuccess, let text = try SmallFile.read(pidFile, atMost: 64),
            let pid = Int32(String(decoding: text, as: UTF8.self))
        else {
            throw FastableError(
                .internal,
                "The container could not be started. The node's log has the cause; a broken image is the most common one.",
                context: "\(program): \(result.status): \(Self.lastError(paths.runtimeLog))")
        }
        return pid
    }

    func delete(_ container: ContainerID) async throws {
        try await HostCommand(program, arguments(["delete", "--force", container.description]))
            .runChecked("remove a container")
    }

    func list() async throws -> [RuntimeContainer] {
        guard Directories.exists(stateDirectory) else { return [] }
        struct Entry: Decodable {
            var id: String
            var pid: Int32
            var status: String
        }
        let result = try await HostCommand(program, arguments(["list", "--format", "json"])).runChecked(
            "list the containers")
        // With no container it prints ‘null’.
        let entries = try JSONDecoder().decode([Entry]?.self, from: result.stdout) ?? []
        return entries.compactMap { entry in
            ContainerID(entry.id).map {
                // It calls paused what stands still in cgroup version 2.
                RuntimeContainer(
                    container: $0, pid: entry.pid, isRunning: entry.status == "running" || entry.status == "paused")
            }
        }
    }

    private func arguments(_ rest: [String]) -> [String] { ["--root", stateDirectory] + rest }

    /// The last message of the runtime's log.
    private static func lastError(_ log: String) -> String {
        struct Line: Decodable { var msg: String }
        let bytes = (try? SmallFile.read(log, atMost: 1024 * 1024)) ?? nil
        let lines = String(decoding: bytes ?? [], as: UTF8.self).split(separator: "\n")
        return lines.compactMap { try? JSONDecoder().decode(Line.self, from: Data($0.utf8)).msg }.last ?? "no message"
    }
}
