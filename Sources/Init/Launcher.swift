import CLinux

/// Turns a request into a running program. Its memory is reused: one request is handled at a time.
struct Launcher {
    /// A request, whose strings lie in the frame it came in.
    struct Request {
        let flags: UInt32
        let uid: UInt32
        let gid: UInt32
        let groupCount: Int
        let timeoutMilliseconds: UInt32
        let rows: UInt16
        let columns: UInt16
        let token: UnsafeRawBufferPointer
        let directory: UnsafePointer<CChar>

        var hasInput: Bool { flags & (FASTABLE_OPEN_INPUT | FASTABLE_OPEN_TERMINAL) != 0 }
        var hasTerminal: Bool { flags & FASTABLE_OPEN_TERMINAL != 0 }
    }

    /// A process that was started, or how far that came.
    enum Launched {
        case started(pid: CInt, Files)
        case failed(stage: UInt8, errno: CInt)
    }

    /// Init's ends of the command's standard files; -1 where there is none. A terminal is input and output.
    struct Files {
        var input: CInt = -1
        var output: CInt = -1
        var error: CInt = -1
    }

    typealias Strings = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    private static let leftoverCapacity = 1024
    private let arguments: Strings
    private let environment: Strings
    private let groups: UnsafeMutablePointer<UInt32>
    private let leftovers: UnsafeMutablePointer<UInt32>

    init?() {
        let pointer = MemoryLayout<UnsafeMutablePointer<CChar>?>.stride
        // One element before the arguments for the shell of a script, and one behind each list for its end.
        guard let arguments = fastable_map((Int(FASTABLE_INIT_ARGUMENTS) + 2) * pointer),
            let environment = fastable_map((Int(FASTABLE_INIT_ENVIRONMENT) + 1) * pointer),
            let groups = fastable_map(Int(FASTABLE_INIT_GROUPS) * MemoryLayout<UInt32>.stride),
            let leftovers = fastable_map(Self.leftoverCapacity * MemoryLayout<UInt32>.stride)
        else { return nil }
        let strings = UnsafeMutablePointer<CChar>?.self
        self.arguments = arguments.bindMemory(to: strings, capacity: Int(FASTABLE_INIT_ARGUMENTS) + 2) + 1
        self.environment = environment.bindMemory(to: strings, capacity: Int(FASTABLE_INIT_ENVIRONMENT) + 1)
        self.groups = groups.bindMemory(to: UInt32.self, capacity: Int(FASTABLE_INIT_GROUPS))
        self.leftovers = leftovers.bindMemory(to: UInt32.self, capacity: Self.leftoverCapacity)
    }

    /// Reads a request; `nil` when it is malformed.
    func read(_ payload: PayloadReader) -> Request? {
        var payload = payload
        guard let flags = payload.integer32(), let uid = payload.integer32(), let gid = payload.integer32(),
            let timeout = payload.integer32(), let size = payload.integer32(), let token = payload.string(),
            let directory = payload.string(),
            let start = directory.baseAddress, token.count <= Int(FASTABLE_INIT_TOKEN_BYTES)
        else { return nil }
        guard let count = list(&payload, into: arguments, atMost: Int(FASTABLE_INIT_ARGUMENTS)), count > 0,
            list(&payload, into: environment, atMost: Int(FASTABLE_INIT_ENVIRONMENT)) != nil,
            let groupCount = flags & FASTABLE_OPEN_GROUPS == 0 ? 0 : groupList(&payload), payload.finish()
        else { return nil }
        return Request(
            flags: flags, uid: uid, gid: gid, groupCount: groupCount, timeoutMilliseconds: timeout,
            rows: UInt16(truncatingIfNeeded: size >> 16),
            columns: UInt16(truncatingIfNeeded: size), token: UnsafeRawBufferPointer(token), directory: start)
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

    private func groupList(_ payload: inout PayloadReader) -> Int? {
        guard let count = payload.integer32(), count <= UInt32(FASTABLE_INIT_GROUPS) else { return nil }
        for index in 0..<Int(count) {
            guard let group = payload.integer32() else { return nil }
            groups[index] = group
        }
        return Int(count)
    }

    /// Starts the program of the request that was read last, in a cgroup of its own.
    func launch(
        _ request: Request, number: UInt32, cgroup: CInt, files: fastable_init_files,
        failure: UnsafeMutablePointer<fastable_spawn_failure>
    ) -> Launched {
        let directory = fastable_cgroup_create(cgroup, number)
        guard directory >= 0 else { return .failed(stage: FASTABLE_STAGE_CGROUP, errno: 0 &- directory) }
        defer { close(directory) }
        var ours = Files()
        var theirs = Files(input: files.null)
        var stage = FASTABLE_STAGE_PIPES
        var result = open(request, files, &ours, &theirs)
        if result >= 0 {
            stage = FASTABLE_STAGE_CLONE
            var spawn = fastable_spawn(
                arguments: arguments, environment: environment, directory: request.directory, uid: request.uid,
                gid: request.gid, groups: groups, group_count: request.groupCount, cgroup: directory,
                input: theirs.input, output: theirs.output, error: theirs.error,
                has_terminal: request.hasTerminal ? 1 : 0, failure: failure)
            result = fastable_spawn(&spawn)
        }
        close(theirs, except: files.null)
        if result > 0 { return .started(pid: result, ours) }
        close(ours, except: -1)
        _ = fastable_cgroup_remove(cgroup, number)
        return .failed(stage: stage, errno: 0 &- result)
    }

    /// Opens the standard files of a command; what was opened before a failure stands in `ours` and `theirs`.
    private func open(
        _ request: Request, _ files: fastable_init_files, _ ours: inout Files, _ theirs: inout Files
    ) -> CInt {
        var ends: (CInt, CInt) = (-1, -1)
        if request.hasTerminal {
            let result = Self.both(&ends) {
                fastable_terminal(files.terminals, request.uid, request.rows, request.columns, $0)
            }
            ours.output = ends.0
            theirs = Files(input: ends.1, output: ends.1, error: ends.1)
            guard result >= 0 else { return result }
            ours.input = fastable_duplicate(ours.output)
            return ours.input
        }
        var result = Self.both(&ends) { fastable_pipe($0, 0) }
        (ours.output, theirs.output) = ends
        guard result >= 0 else { return result }
        ends = (-1, -1)
        result = Self.both(&ends) { fastable_pipe($0, 0) }
        (ours.error, theirs.error) = ends
        guard result >= 0, request.hasInput else { return result }
        ends = (-1, -1)
        result = Self.both(&ends) { fastable_pipe($0, 1) }
        (theirs.input, ours.input) = ends
        return result
    }

    private static func both(_ ends: inout (CInt, CInt), _ open: (UnsafeMutablePointer<CInt>) -> CInt) -> CInt {
        withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: CInt.self, capacity: 2) { open($0) }
        }
    }

    private func close(_ files: Files, except kept: CInt) {
        if files.input != kept { close(files.input) }
        if files.output != files.input { close(files.output) }
        if files.error != files.output { close(files.error) }
    }

    private func close(_ fd: CInt) { if fd >= 0 { _ = fastable_close(fd) } }

    /// The numbers of the exec cgroups that exist.
    func cgroups(in directory: CInt) -> UnsafeBufferPointer<UInt32> {
        let count = fastable_cgroup_list(directory, leftovers, CInt(Self.leftoverCapacity))
        return UnsafeBufferPointer(start: leftovers, count: max(0, Int(count)))
    }
}
