import CLinux
import Glibc

// The system calls of init on files, pipes, terminals, sockets and cgroups; see `SystemCalls.swift`.

private func call<Value>(_ otherwise: Value, _ body: (SimulatedKernel) -> Value) -> Value {
    SimulatedKernel.current.map(body) ?? otherwise
}

func fastable_accept(_ listener: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard !kernel.waiting.isEmpty else { return FASTABLE_AGAIN }
        guard !kernel.fails() else { return -EMFILE }
        return kernel.open(.socket(kernel.waiting.removeFirst()))
    }
}

func fastable_receive(
    _ socket: CInt, _ buffer: UnsafeMutableRawPointer?, _ size: Int, _ passed: UnsafeMutablePointer<CInt>?
) -> Int {
    call(-Int(ENOSYS)) { kernel in
        passed?.pointee = -1
        guard case .socket(let connection)? = kernel.file(socket, "receive")?.kind else { return -Int(EBADF) }
        guard !connection.arriving.isEmpty else { return connection.isClosedByNode ? 0 : Int(FASTABLE_AGAIN) }
        if connection.passesDirectory {
            connection.passesDirectory = false
            passed?.pointee = kernel.open(.groups)
        }
        let piece = Array(connection.arriving.prefix(size))
        connection.arriving.removeFirst(piece.count)
        buffer?.copyBytes(piece)
        return piece.count
    }
}

func fastable_send(
    _ socket: CInt, _ first: UnsafeRawPointer?, _ firstSize: Int, _ second: UnsafeRawPointer?, _ secondSize: Int,
    _ third: UnsafeRawPointer?, _ thirdSize: Int
) -> Int {
    call(-Int(ENOSYS)) { kernel in
        guard case .socket(let connection)? = kernel.file(socket, "send")?.kind else { return -Int(EBADF) }
        guard !connection.isClosedByNode else { return -Int(EPIPE) }
        var sent = 0
        for (start, size) in [(first, firstSize), (second, secondSize), (third, thirdSize)] {
            let count = min(size, connection.room)
            connection.sent += UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count)
            connection.room -= count
            sent += count
        }
        return sent > 0 || firstSize + secondSize + thirdSize == 0 ? sent : Int(FASTABLE_AGAIN)
    }
}

func fastable_pipe(_ ends: UnsafeMutablePointer<CInt>?, _ ours: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard !kernel.fails() else { return -EMFILE }
        let pipe = Pipe()
        ends?[0] = kernel.open(.readEnd(pipe))
        ends?[1] = kernel.open(.writeEnd(pipe))
        return 0
    }
}

func fastable_terminal(
    _ terminals: CInt, _ uid: UInt32, _ rows: UInt16, _ columns: UInt16, _ ends: UnsafeMutablePointer<CInt>?
) -> CInt {
    call(-ENOSYS) { kernel in
        guard !kernel.fails() else { return -ENOSPC }
        let terminal = Terminal()
        ends?[0] = kernel.open(.master(terminal))
        // The master is there already when the other side fails.
        guard !kernel.fails() else { return -EIO }
        ends?[1] = kernel.open(.slave(terminal))
        return 0
    }
}

func fastable_terminal_resize(_ terminal: CInt, _ rows: UInt16, _ columns: UInt16) -> CInt {
    call(-ENOSYS) { $0.file(terminal, "resize") == nil ? -EBADF : 0 }
}

/// Programs here read lines.
func fastable_terminal_end(_ terminal: CInt, _ last: CInt, _ character: UnsafeMutablePointer<UInt8>?) -> CInt {
    call(0) { kernel in
        _ = kernel.file(terminal, "end of input")
        character?.pointee = 4
        return last < 0 || last == 4 || last == 10 ? 0 : 1
    }
}

func fastable_terminal_signal(_ terminal: CInt, _ signal: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard case .master(let terminal)? = kernel.file(terminal, "signal")?.kind, terminal.hasSlave else {
            return -ENOTTY
        }
        let command = kernel.commands.last { command in
            !command.hasEnded
                && command.files.contains { if case .slave(let other) = $0.kind { other === terminal } else { false } }
        }
        return command.map { fastable_signal_group($0.pid, signal) } ?? -ESRCH
    }
}

func fastable_duplicate(_ fd: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard let file = kernel.file(fd, "duplicate") else { return -EBADF }
        return kernel.fails() ? -EMFILE : kernel.open(file)
    }
}

func fastable_read(_ fd: CInt, _ buffer: UnsafeMutableRawPointer?, _ size: Int) -> Int {
    call(-Int(ENOSYS)) { kernel in
        let bytes: [UInt8]
        let atEnd: Int
        switch kernel.file(fd, "read")?.kind {
        case .readEnd(let pipe):
            bytes = pipe.queue.take(size)
            atEnd = pipe.hasWriter ? Int(FASTABLE_AGAIN) : 0
        case .master(let terminal):
            bytes = terminal.output.take(size)
            atEnd = terminal.hasSlave ? Int(FASTABLE_AGAIN) : -Int(EIO)
        default: return -Int(EBADF)
        }
        guard !bytes.isEmpty else { return atEnd }
        buffer?.copyBytes(bytes)
        return bytes.count
    }
}

func fastable_write(_ fd: CInt, _ buffer: UnsafeRawPointer?, _ size: Int) -> Int {
    call(-Int(ENOSYS)) { kernel in
        let bytes = UnsafeRawBufferPointer(start: buffer, count: size)
        let count: Int
        switch kernel.file(fd, "write")?.kind {
        case .writeEnd(let pipe):
            guard pipe.hasReader else { return -Int(EPIPE) }
            count = pipe.queue.put(bytes)
        case .master(let terminal):
            guard terminal.hasSlave else { return -Int(EIO) }
            count = terminal.input.put(bytes)
        default: return -Int(EBADF)
        }
        return count > 0 ? count : Int(FASTABLE_AGAIN)
    }
}

func fastable_close(_ fd: CInt) -> CInt { call(-ENOSYS) { $0.close(fd) } }

func fastable_pending(_ fd: CInt) -> Int {
    call(0) { kernel in
        switch kernel.file(fd, "poll")?.kind {
        case .readEnd(let pipe): pipe.queue.isEmpty && !pipe.hasWriter ? -1 : pipe.queue.count
        case .master(let terminal): terminal.output.isEmpty && !terminal.hasSlave ? -1 : terminal.output.count
        default: 0
        }
    }
}

/// Pipes hold as much as the simulation gives them.
func fastable_pipe_grow(_ fd: CInt) {
    _ = call(0) { kernel in
        _ = kernel.file(fd, "grow")
        return 0
    }
}

// MARK: cgroups

func fastable_cgroup_check(_ directory: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        if case .groups? = kernel.file(directory, "check")?.kind { 0 } else { -ENOTDIR }
    }
}

func fastable_cgroup_create(_ directory: CInt, _ number: UInt32) -> CInt {
    call(-ENOSYS) { kernel in
        guard case .groups? = kernel.file(directory, "cgroup")?.kind else { return -EBADF }
        guard !kernel.fails() else { return -ENOMEM }
        guard kernel.processes(in: number) == 0 else { return -EBUSY }
        kernel.groups.insert(number)
        return kernel.open(.group(number))
    }
}

func fastable_cgroup_kill(_ directory: CInt, _ number: UInt32) -> CInt {
    call(-ENOSYS) { kernel in
        guard kernel.file(directory, "kill") != nil else { return -EBADF }
        guard kernel.groups.contains(number) else { return -ENOENT }
        kernel.kill(group: number)
        return 0
    }
}

func fastable_cgroup_signal(_ directory: CInt, _ number: UInt32, _ signal: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard kernel.file(directory, "signal") != nil else { return -EBADF }
        guard kernel.groups.contains(number) else { return -ENOENT }
        guard !kernel.fails() else { return -EMFILE }
        return kernel.signal(group: number, signal)
    }
}

func fastable_cgroup_open_events(_ directory: CInt, _ number: UInt32) -> CInt {
    call(-ENOSYS) { kernel in
        guard kernel.groups.contains(number) else { return -ENOENT }
        return kernel.fails() ? -EMFILE : kernel.open(.groupEvents(number))
    }
}

func fastable_cgroup_populated(_ events: CInt) -> CInt {
    call(0) { kernel in
        guard let file = kernel.file(events, "populated"), case .groupEvents(let number) = file.kind else {
            return -EBADF
        }
        file.hasNews = false
        return kernel.processes(in: number) > 0 ? 1 : 0
    }
}

func fastable_cgroup_remove(_ directory: CInt, _ number: UInt32) -> CInt {
    call(-ENOSYS) { kernel in
        guard kernel.file(directory, "remove") != nil else { return -EBADF }
        guard kernel.processes(in: number) == 0 else { return -EBUSY }
        kernel.groups.remove(number)
        return 0
    }
}

func fastable_cgroup_list(_ directory: CInt, _ numbers: UnsafeMutablePointer<UInt32>?, _ capacity: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard kernel.file(directory, "list") != nil else { return -EBADF }
        let some = kernel.groups.sorted().prefix(Int(capacity))
        for (index, number) in some.enumerated() { numbers?[index] = number }
        return CInt(some.count)
    }
}

extension UnsafeMutableRawPointer {
    func copyBytes(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { if let start = $0.baseAddress { copyMemory(from: start, byteCount: $0.count) } }
    }
}

extension SimulatedKernel {
    /// What could be done with a file now, as epoll tells it.
    func ready(_ file: OpenFile) -> UInt32 {
        var events: UInt32 = 0
        func add(_ event: UInt32, _ condition: Bool) { if condition { events |= event } }
        switch file.kind {
        case .listener: add(FASTABLE_EVENT_READ, !waiting.isEmpty)
        case .signals: add(FASTABLE_EVENT_READ, hasChildSignal)
        case .socket(let connection):
            add(FASTABLE_EVENT_READ, !connection.arriving.isEmpty || connection.isClosedByNode)
            add(FASTABLE_EVENT_WRITE, connection.room > 0 || connection.isClosedByNode)
            add(FASTABLE_EVENT_HANGUP, connection.isClosedByNode)
        case .readEnd(let pipe):
            add(FASTABLE_EVENT_READ, !pipe.queue.isEmpty)
            add(FASTABLE_EVENT_HANGUP, !pipe.hasWriter)
        case .writeEnd(let pipe):
            add(FASTABLE_EVENT_WRITE, pipe.queue.room > 0)
            add(FASTABLE_EVENT_HANGUP, !pipe.hasReader)
        case .master(let terminal):
            add(FASTABLE_EVENT_READ, !terminal.output.isEmpty)
            add(FASTABLE_EVENT_WRITE, terminal.input.room > 0)
            add(FASTABLE_EVENT_HANGUP, !terminal.hasSlave)
        case .groupEvents: add(FASTABLE_EVENT_PRIORITY, file.hasNews)
        case .null, .epoll, .terminals, .groups, .group, .slave: break
        }
        return events
    }
}
