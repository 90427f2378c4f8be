import CLinux

/// Turns a request into a running program. Its memory is reused: one request is handled at a time.
struct Launcher {
    /// A request, whose strings lie in the frame it came in.
    struct Request {
        let flags: UInt32
        let uid: UInt32
        let gid: UInt32
        let timeoutMilliseconds: UInt32
        let token: UnsafeRawBufferPointer
        let directory: UnsafePointer<CChar>
    }

    /// A process that was started, or how far that came.
    enum Launched {
        case started(pid: CInt, output: CInt, error: CInt)
        case failed(stage: UInt8, errno: CInt)
    }

    typealias Strings = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    private static let leftoverCapacity = 1024
    private let arguments: Strings
    private let environment: Strings
    private let leftovers: UnsafeMutablePointer<UInt32>

    init?() {
        let pointer = MemoryLayout<UnsafeMutablePointer<CChar>?>.stride
        // One element before the arguments for the shell of a script, and one behind each list for its end.
        guard let arguments = fastable_map((Int(FASTABLE_INIT_ARGUMENTS) + 2) * pointer),
            let environment = fastable_map((Int(FASTABLE_INIT_ENVIRONMENT) + 1) * pointer),
            let leftovers = fastable_map(Self.leftoverCapacity * MemoryLayout<UInt32>.stride)
        else { return nil }
        let strings = UnsafeMutablePointer<CChar>?.self
        self.arguments = arguments.bindMemory(to: strings, capacity: Int(FASTABLE_INIT_ARGUMENTS) + 2) + 1
        self.environment = environment.bindMemory(to: strings, capacity: Int(FASTABLE_INIT_ENVIRONMENT) + 1)
        self.leftovers = leftovers.bindMemory(to: UInt32.self, capacity: Self.leftoverCapacity)
    }

    /// Reads a request; `nil` when it is malformed.
    func read(_ payload: PayloadReader) -> Request? {
        var payload = payload
        guard let flags = payload.integer32(), let uid = payload.integer32(), let gid = payload.integer32(),
            let timeout = payload.integer32(), let token = payload.string(), let directory = payload.string(),
            let start = directory.baseAddress, token.count <= Int(FASTABLE_INIT_TOKEN_BYTES)
        else { return nil }
        guard let count = list(&payload, into: arguments, atMost: Int(FASTABLE_INIT_ARGUMENTS)), count > 0,
            list(&payload, into: environment, atMost: Int(FASTABLE_INIT_ENVIRONMENT)) != nil, payload.finish()
        else { return nil }
        return Request(
            flags: flags, uid: uid, gid: gid, timeoutMilliseconds: timeout, token: UnsafeRawBufferPointer(token),
            directory: start)
    }

    private func list(_ payload: inout PayloadReader, into strings: Strings, atMost most: Int) -> Int? {
        guard let count = payload.integer32(), Int(count) <= most else { return nil }
        for index in 0..<Int(count) {
            guard let start = payload.string()?.baseAddress else { return nil }
            strings[index] = UnsafeMutablePointer(mutating: start)
        }
        strings[Int(count)] = nil
        return Int(count)
    }

    /// Starts the program of the request that was read last, in a cgroup of its own.
    func launch(
        _ request: Request, number: UInt32, cgroup: CInt, input: CInt,
        failure: UnsafeMutablePointer<fastable_spawn_failure>
    ) -> Launched {
        let directory = fastable_cgroup_create(cgroup, number)
        guard directory >= 0 else { return .failed(stage: FASTABLE_STAGE_CGROUP, errno: 0 &- directory) }
        var outputs: (CInt, CInt) = (-1, -1)
        var errors: (CInt, CInt) = (-1, -1)
        defer {
            close(directory)
            close(outputs.1)
            close(errors.1)
        }
        var stage = FASTABLE_STAGE_PIPES
        var result = Self.pipe(&outputs)
        if result == 0 { result = Self.pipe(&errors) }
        if result == 0 {
            stage = FASTABLE_STAGE_CLONE
            var spawn = fastable_spawn(
                arguments: arguments, environment: environment, directory: request.directory, uid: request.uid,
                gid: request.gid, cgroup: directory, input: input, output: outputs.1, error: errors.1, failure: failure)
            result = fastable_spawn(&spawn)
            if result > 0 { return .started(pid: result, output: outputs.0, error: errors.0) }
        }
        close(outputs.0)
        close(errors.0)
        _ = fastable_cgroup_remove(cgroup, number)
        return .failed(stage: stage, errno: 0 &- result)
    }

    private static func pipe(_ ends: inout (CInt, CInt)) -> CInt {
        withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: CInt.self, capacity: 2) { fastable_pipe($0) }
        }
    }

    private func close(_ fd: CInt) { if fd >= 0 { _ = fastable_close(fd) } }

    /// The numbers of the exec cgroups that exist.
    func cgroups(in directory: CInt) -> UnsafeBufferPointer<UInt32> {
        let count = fastable_cgroup_list(directory, leftovers, CInt(Self.leftoverCapacity))
        return UnsafeBufferPointer(start: leftovers, count: max(0, Int(count)))
    }
}
