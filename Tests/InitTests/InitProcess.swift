import CLinux
import FastableCore
import Foundation
import Glibc
import NIOCore
import NIOPosix
import NodeLinux
import NodeSandbox
import Synchronization
import TestSupport
import Testing

/// A real `fastable-init` as process 1 of a pid namespace, with a cgroup and a folder of its own; everything goes at the end.
final class InitProcess: Sendable {
    static let available = getuid() == 0 && access("/usr/bin/unshare", X_OK) == 0
    private static let counter = Atomic<Int>(0)

    let container = ContainerID()
    let folder: String
    /// In the host's pid namespace.
    let pid: Int32
    let unshare: Int32
    let group: String
    let tree: CgroupTree
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

    var socket: String { folder + "/init.sock" }
    var execs: String { folder + "/execs" }
    /// One for all tables: an abandoned one may still be writing, which a dead daemon does not.
    private let results: Mutex<EndedResults>
    var cgroup: String { tree.root + "/" + group }

    /// Processes in the cgroups of execs, seen from the host.
    var commandProcesses: [String] {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: cgroup)) ?? []
        return folders.filter { $0.hasPrefix("exec-") }.flatMap { folder in
            let text = try? String(contentsOfFile: cgroup + "/\(folder)/cgroup.procs", encoding: .utf8)
            return (text ?? "").split(separator: "\n").map { String($0) }
        }
    }

    /// One that is ending already runs no program any more: it leaves its group a moment before it is a zombie.
    static func isAlive(_ pid: String) -> Bool {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 6, fields[0] != "Z", let flags = UInt32(fields[6]) else { return false }
        return flags & exiting == 0
    }

    /// PF_EXITING of the kernel.
    private static let exiting: UInt32 = 4

    /// Runs `body` with an init, and removes it and all that it started.
    static func with<Result>(
        root: String? = nil, _ body: (InitProcess) async throws -> Result
    ) async throws -> Result {
        let process = try await InitProcess(root: root)
        do {
            let result = try await body(process)
            await process.remove()
            return result
        } catch {
            await process.remove()
            throw error
        }
    }

    /// The same with a table that has been connected.
    static func withTable<Result>(
        root: String? = nil, _ body: (ExecTable, InitProcess) async throws -> Result
    ) async throws -> Result {
        try await with(root: root) { process in
            let table = try await process.table()
            do {
                let result = try await body(table, process)
                await table.close()
                return result
            } catch {
                await table.close()
                throw error
            }
        }
    }

    private init(root: String?) async throws {
        let number = Self.counter.add(1, ordering: .relaxed).newValue
        group = "fastable-inittests-\(getpid())-\(number)"
        tree = try CgroupTree(ownMount: NSTemporaryDirectory() + "/fastable-inittests-cgroup2")
        var template = Array((NSTemporaryDirectory() + "/fbinit-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Errno.last }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)

        results = Mutex(EndedResults(directory: folder + "/execs/ended"))
        let listener = try InitSocket.listen(at: folder + "/init.sock")
        var arguments = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child"]
        let program = try #require(BuiltProgram.path("fastable-init"))
        arguments += root.map { ["--root=\($0)", "/fastable-init"] } ?? ["--mount-proc", program]
        unshare = try Self.spawn(arguments, listener: listener)
        pid = try await Self.child(of: unshare)
        _ = try tree.delegate(group, to: 0, process: pid, descendants: 1000)
    }

    func table(activity: ProjectActivity? = nil) async throws -> ExecTable {
        let table = try newTable(activity: activity)
        try await table.recover()
        return table
    }

    /// One that is not connected yet.
    func newTable(activity: ProjectActivity? = nil, on eventLoop: (any EventLoop)? = nil) throws -> ExecTable {
        ExecTable(
            container: container, socketPath: socket, cgroup: try tree.open(group), store: store(),
            eventLoop: eventLoop ?? self.eventLoop, activity: activity, logger: .quiet)
    }

    /// An ended exec as a daemon sees it that was started after everything.
    func readBack(_ exec: ExecID) async throws -> ExecSession {
        let table = ExecTable(
            container: ContainerID(), socketPath: socket, cgroup: try tree.open(group), store: store(),
            eventLoop: eventLoop, logger: .quiet)
        return try await table.session(exec)
    }

    /// What the next daemon finds.
    private func store() -> ExecStore {
        ExecStore(directory: execs, results: results.withLock { $0 }, logger: .quiet)
    }

    /// Its record is complete, and init may forget it.
    func isRecorded(_ exec: ExecID) -> Bool { (try? store().read(exec))?.isComplete == true }

    /// A loss of power would undo nothing.
    var recordsAreSaved: Bool { !results.withLock { $0 }.hasUnsaved }

    func loseRecords() throws {
        try FileManager.default.removeItem(atPath: execs + "/ended")
        results.withLock { $0 = EndedResults(directory: execs + "/ended") }
    }

    func remove() async {
        try? tree.kill(group)
        kill(pid, SIGKILL)
        kill(unshare, SIGKILL)
        var status: Int32 = 0
        waitpid(unshare, &status, 0)
        try? tree.remove(group)
        // An abandoned table may still be writing.
        for _ in 0..<3000 {
            do { return try FileManager.default.removeItem(atPath: folder) } catch {
                try? await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    private static func spawn(_ arguments: [String], listener: borrowing NodeLinux.FileDescriptor) throws -> Int32 {
        let null = try NodeLinux.FileDescriptor(opening: "/dev/null", O_RDWR)
        let sources = [null.number, null.number, null.number, listener.number]
        var strings: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for string in strings { free(string) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var pidfd: CInt = -1
        let pid = strings.withUnsafeMutableBufferPointer { strings in
            environment.withUnsafeMutableBufferPointer { environment in
                sources.withUnsafeBufferPointer { sources in
                    [CInt(0), 1, 2, 3].withUnsafeBufferPointer { targets in
                        var request = fst_spawn_request()
                        request.path = UnsafePointer(strings[0])
                        request.arguments = UnsafePointer(strings.baseAddress)
                        request.environment = UnsafePointer(environment.baseAddress)
                        request.sources = sources.baseAddress
                        request.targets = targets.baseAddress
                        request.descriptor_count = 4
                        request.working_directory = -1
                        return fst_spawn(&request, &pidfd)
                    }
                }
            }
        }
        close(pidfd)
        return try Errno.checkNegative(pid)
    }

    private static func child(of parent: Int32) async throws -> Int32 {
        var child: Int32?
        try await eventually("unshare has started a process") {
            let text = (try? String(contentsOfFile: "/proc/\(parent)/task/\(parent)/children", encoding: .utf8)) ?? ""
            child = text.split(separator: " ").first.flatMap { Int32($0) }
            return child != nil
        }
        return try #require(child)
    }
}
