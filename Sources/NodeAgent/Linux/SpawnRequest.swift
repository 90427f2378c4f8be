import CLinux
import FastableCore
import FoundationEssentials
import Glibc

/// A `HostCommand` as the C side wants it.
struct SpawnRequest {
    private let command: HostCommand
    private let path: String
    /// It must be there until the process has started.
    private let copy: SealedProgram.Copy?

    init(_ command: HostCommand) throws {
        self.command = command
        self.path = try HostTools.path(of: command.executable)
        self.copy = command.sealed?.copy(of: path)
        let texts = [path] + command.arguments + command.environment.flatMap { [$0, $1] }
        guard !texts.contains(where: { $0.utf8.contains(0) }) else {
            throw FastableError(
                .invalid, "An argument contains a NUL character.", details: ["tool": .string(command.name)])
        }
    }

    /// Starts the process with the three standard descriptors; the caller keeps its own copies.
    func start(
        input: borrowing FileDescriptor, output: borrowing FileDescriptor, error: borrowing FileDescriptor
    ) throws -> (pid: pid_t, pidfd: CInt) {
        let sources = [input.number, output.number, error.number] + command.inheritedDescriptors.map(\.number)
        let targets = [0, 1, 2] + command.inheritedDescriptors.map(\.target)
        let arguments = CStringArray([command.executable] + command.arguments)
        let environment = CStringArray(command.environment.map { "\($0)=\($1)" })
        let directory = try workingDirectory()
        var pidfd: CInt = -1
        let groups = command.group?.descriptors ?? []
        let pid = sources.withUnsafeBufferPointer { sources in
            targets.withUnsafeBufferPointer { targets in
                (copy?.path ?? path).withCString { path in
                    var request = fst_spawn_request()
                    request.path = path
                    request.arguments = UnsafePointer(arguments.pointer)
                    request.environment = UnsafePointer(environment.pointer)
                    request.sources = sources.baseAddress
                    request.targets = targets.baseAddress
                    request.descriptor_count = sources.count
                    request.working_directory = directory.number
                    request.drop_privileges = command.identity == nil ? 0 : 1
                    request.user = command.identity?.user ?? 0
                    request.group = command.identity?.group ?? 0
                    request.memory_bytes = UInt64(max(0, command.memoryLimitBytes ?? 0))
                    return groups.withUnsafeBufferPointer { groups in
                        request.control_groups = groups.baseAddress
                        request.control_group_count = groups.count
                        return fst_spawn(&request, &pidfd)
                    }
                }
            }
        }
        // The arrays own what the request points to.
        withExtendedLifetime((arguments, environment, copy)) {}
        guard pid > 0 else { throw startError(Errno(-CInt(pid))) }
        return (pid, pidfd)
    }

    private func workingDirectory() throws -> FileDescriptor {
        do throws(Errno) {
            switch command.workingDirectory {
            case .descriptor(let number):
                return FileDescriptor(owning: try Errno.check { fcntl(number, F_DUPFD_CLOEXEC, 0) })
            case .path(let path): return try FileDescriptor(opening: path, CInt(FST_O_PATH) | O_DIRECTORY)
            }
        } catch { throw startError(error) }
    }

    private func startError(_ error: Errno) -> FastableError {
        if error.number == ENOENT && access(path, X_OK) != 0 { return HostTools.missing(command.executable) }
        var failure = command.failure(
            error.number == E2BIG ? .tooLarge : .internal, "The node could not start ‘\(command.name)’.", nil, Data())
        failure.context = "\(error); \(failure.context ?? "")"
        return failure
    }
}

/// A null-terminated array of C strings.
private final class CStringArray {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ texts: [String]) {
        count = texts.count
        pointer = .allocate(capacity: texts.count + 1)
        for (index, text) in texts.enumerated() { (pointer + index).initialize(to: strdup(text)) }
        (pointer + texts.count).initialize(to: nil)
    }

    deinit {
        for index in 0..<count { free(pointer[index]) }
        pointer.deallocate()
    }
}
