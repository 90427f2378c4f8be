import CLinux
import Glibc

typealias SpawnFailure = fastable_spawn_failure

/// The kernel that `fastable-init` sees when it is built for tests: files, pipes, terminals, processes, cgroups, memory and the
/// clock, all of them in memory and under the test's control. It notes what a program must never do.
///
/// One thread runs one simulation; the functions in `SystemCalls.swift` find it here.
final class SimulatedKernel: @unchecked Sendable {
    @TaskLocal static var current: SimulatedKernel?

    struct Watch {
        let descriptor: CInt
        let file: OpenFile
        var events: UInt32
        var tag: UInt64
    }

    struct Ended {
        let pid: CInt
        let bySignal: Bool
        let value: CInt
    }

    static let epoll: CInt = 5
    static let signals: CInt = 6

    private(set) var problems: [String] = []
    private(set) var descriptors: [CInt: OpenFile] = [:]
    var watches: [Watch] = []
    var commands: [SimulatedCommand] = []
    var spawnedNumbers: [UInt32: Int] = [:]
    /// Cgroups that exist.
    var groups: Set<UInt32> = []
    var ended: [Ended] = []
    var waiting: [Connection] = []
    var hasChildSignal = false
    var now: UInt64 = 1_000_000_000
    /// Calls that may fail until one does; 0 when none is to.
    var callsUntilFailure = 0
    /// What the last `fastable_wait` answered.
    var lastWait: (events: Int, timeout: CInt) = (0, 0)
    private var memory: [UnsafeMutableRawPointer: GuardedMemory] = [:]
    private var lastDescriptor: CInt = 10
    private var lastPID: CInt = 100

    init() {
        let first: [(CInt, OpenFile.Kind)] = [
            (3, .listener), (4, .null), (Self.epoll, .epoll), (Self.signals, .signals), (7, .terminals),
        ]
        for (number, kind) in first { insert(OpenFile(kind), as: number) }
    }

    deinit { for piece in memory.values { piece.free() } }

    func problem(_ what: String) { if problems.count < 10 { problems.append(what) } }

    /// Whether this call is the one that is to fail.
    func fails() -> Bool {
        guard callsUntilFailure > 0 else { return false }
        callsUntilFailure -= 1
        return callsUntilFailure == 0
    }

    func nextPID() -> CInt {
        lastPID += 1
        return lastPID
    }
}

// MARK: descriptors

extension SimulatedKernel {
    private func insert(_ file: OpenFile, as number: CInt) {
        file.retain()
        descriptors[number] = file
    }

    /// A number is never used twice: what still uses a closed one is found.
    func open(_ file: OpenFile) -> CInt {
        lastDescriptor += 1
        insert(file, as: lastDescriptor)
        return lastDescriptor
    }

    func open(_ kind: OpenFile.Kind) -> CInt { open(OpenFile(kind)) }

    func file(_ descriptor: CInt, _ call: String) -> OpenFile? {
        let file = descriptors[descriptor]
        // What was never opened is known by a negative number, and may be tried.
        if file == nil, descriptor >= 0 { problem("\(call) of descriptor \(descriptor), which is closed") }
        return file
    }

    func close(_ descriptor: CInt) -> CInt {
        guard let file = file(descriptor, "close") else { return -EBADF }
        descriptors[descriptor] = nil
        release(file)
        return 0
    }

    /// As in Linux, a watch stays until the last descriptor of its file is closed.
    func release(_ file: OpenFile) {
        file.release()
        if file.references == 0 { watches.removeAll { $0.file === file } }
    }
}

// MARK: memory

extension SimulatedKernel {
    var mappings: Int { memory.count }

    func map(_ size: Int) -> UnsafeMutableRawPointer? {
        guard let piece = GuardedMemory(size: size) else { return nil }
        memory[piece.start] = piece
        return piece.start
    }

    func unmap(_ start: UnsafeMutableRawPointer, _ size: Int) {
        guard let piece = memory.removeValue(forKey: start), piece.size == size else {
            return problem("unmapping what was not mapped")
        }
        if !piece.isIntact { problem("a write before the beginning of \(size) bytes") }
        piece.free()
    }

    func discard(_ start: UnsafeMutableRawPointer, _ size: Int) {
        let isOurs = memory.values.contains { $0.start <= start && start + size <= $0.start + $0.size }
        guard isOurs else { return problem("discarding what was not mapped") }
        memset(start, 0, size)
    }

    func checkMemory() {
        for piece in memory.values where !piece.isIntact {
            problem("a write before the beginning of \(piece.size) bytes")
        }
    }
}

// MARK: processes

extension SimulatedKernel {
    func running(pid: CInt) -> SimulatedCommand? { commands.last { $0.pid == pid && !$0.hasEnded } }

    func processes(in group: UInt32) -> Int { commands.reduce(0) { $0 + ($1.number == group ? $1.processes : 0) } }

    func end(_ command: SimulatedCommand, bySignal: Bool, value: CInt) {
        guard !command.hasEnded else { return }
        command.writtenAtExit = command.written
        command.processes -= 1
        ended.append(Ended(pid: command.pid, bySignal: bySignal, value: value))
        hasChildSignal = true
        settle(command)
    }

    /// Ends every process of a cgroup.
    func kill(group: UInt32) {
        for command in commands where command.number == group {
            end(command, bySignal: true, value: 9)
            while command.processes > 0 { endBackground(command) }
        }
    }

    /// Odd numbers leave the request to end unheard.
    static func obeys(_ command: SimulatedCommand, _ signal: CInt) -> Bool {
        signal == SIGKILL || (signal == SIGTERM && command.number % 2 == 0)
    }

    /// Signals every process of a cgroup: how many there were.
    func signal(group: UInt32, _ signal: CInt) -> CInt {
        let count = CInt(processes(in: group))
        for command in commands where command.number == group && Self.obeys(command, signal) {
            end(command, bySignal: true, value: signal)
            while command.processes > 0 { endBackground(command) }
        }
        return count
    }

    /// An orphan is a child of init, which has to collect it.
    func endBackground(_ command: SimulatedCommand) {
        command.processes -= 1
        ended.append(Ended(pid: nextPID(), bySignal: false, value: 0))
        hasChildSignal = true
        settle(command)
    }

    /// Closes what nobody holds open any more, and tells whoever watches the cgroup.
    func settle(_ command: SimulatedCommand) {
        guard command.processes == 0 else { return }
        for file in command.files { release(file) }
        command.files = []
        guard processes(in: command.number) == 0 else { return }
        for file in descriptors.values {
            if case .groupEvents(command.number) = file.kind { file.hasNews = true }
        }
    }
}
