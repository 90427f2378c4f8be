import CLinux
import Glibc

// These stand in the same module as the sources of init, so they are what those call, instead of the functions of CLinux. A test
// of the repository checks that none is missing.

private func call<Value>(_ otherwise: Value, _ body: (SimulatedKernel) -> Value) -> Value {
    SimulatedKernel.current.map(body) ?? otherwise
}

func fastable_init_prepare(_ files: UnsafeMutablePointer<fastable_init_files>?) -> CInt {
    files?.pointee = fastable_init_files(
        epoll: SimulatedKernel.epoll, signals: SimulatedKernel.signals, null: 4, terminals: 7)
    return 0
}

func fastable_exit(_ status: CInt) -> Never { abort() }

// MARK: watching

func fastable_watch(_ epoll: CInt, _ fd: CInt, _ events: UInt32, _ tag: UInt64) -> CInt {
    call(-ENOSYS) { kernel in
        guard let file = kernel.file(fd, "watch") else { return -EBADF }
        guard !kernel.fails() else { return -ENOMEM }
        guard !kernel.watches.contains(where: { $0.descriptor == fd && $0.file === file }) else { return -EEXIST }
        kernel.watches.append(SimulatedKernel.Watch(descriptor: fd, file: file, events: events, tag: tag))
        return 0
    }
}

func fastable_rewatch(_ epoll: CInt, _ fd: CInt, _ events: UInt32, _ tag: UInt64) -> CInt {
    call(-ENOSYS) { kernel in
        guard let file = kernel.file(fd, "rewatch") else { return -EBADF }
        let index = kernel.watches.firstIndex { $0.descriptor == fd && $0.file === file }
        guard let index else { return -ENOENT }
        kernel.watches[index].events = events
        kernel.watches[index].tag = tag
        return 0
    }
}

func fastable_unwatch(_ epoll: CInt, _ fd: CInt) -> CInt {
    call(-ENOSYS) { kernel in
        guard let file = kernel.file(fd, "unwatch") else { return -EBADF }
        let index = kernel.watches.firstIndex { $0.descriptor == fd && $0.file === file }
        guard let index else { return -ENOENT }
        kernel.watches.remove(at: index)
        return 0
    }
}

func fastable_wait(
    _ epoll: CInt, _ events: UnsafeMutablePointer<fastable_event>?, _ capacity: CInt, _ milliseconds: CInt
) -> CInt {
    call(-ENOSYS) { kernel in
        var count: CInt = 0
        for watch in kernel.watches where count < capacity {
            let ready = kernel.ready(watch.file) & (watch.events | FASTABLE_EVENT_HANGUP)
            guard ready != 0 else { continue }
            events?[Int(count)] = fastable_event(tag: watch.tag, events: ready)
            count += 1
        }
        kernel.lastWait = (Int(count), milliseconds)
        return count
    }
}

func fastable_signals_take(_ signals: CInt) -> CInt {
    call(0) { kernel in
        defer { kernel.hasChildSignal = false }
        return kernel.hasChildSignal ? FASTABLE_SIGNAL_CHILD : 0
    }
}

// MARK: processes

func fastable_reap(_ bySignal: UnsafeMutablePointer<CInt>?, _ value: UnsafeMutablePointer<CInt>?) -> CInt {
    call(0) { kernel in
        guard !kernel.ended.isEmpty else { return 0 }
        let ended = kernel.ended.removeFirst()
        bySignal?.pointee = ended.bySignal ? 1 : 0
        value?.pointee = ended.value
        return ended.pid
    }
}

func fastable_signal_group(_ pid: CInt, _ signal: CInt) -> CInt {
    call(-ESRCH) { kernel in
        guard pid > 1, let command = kernel.running(pid: pid) else { return -ESRCH }
        if SimulatedKernel.obeys(command, signal) { kernel.end(command, bySignal: true, value: signal) }
        return 0
    }
}

func fastable_spawn(_ request: UnsafePointer<fastable_spawn>?) -> CInt {
    call(-ENOSYS) { kernel in
        guard let request = request?.pointee, let failure = request.failure,
            case .group(let number)? = kernel.file(request.cgroup, "clone into")?.kind
        else { return -EBADF }
        guard !kernel.fails() else { return -EAGAIN }
        // A script without a first line is given to the shell, which takes one more place before the arguments.
        request.arguments?[-1] = nil
        failure.pointee = SpawnFailure(stage: 0, number: 0)
        let files = [request.input, request.output, request.error].compactMap { kernel.file($0, "inherit") }
        for file in files { file.retain() }
        _ = request.directory.map { strlen($0) }
        let command = SimulatedCommand(
            number: number, pid: kernel.nextPID(), hasTerminal: request.has_terminal != 0,
            arguments: strings(request.arguments), environment: strings(request.environment), files: files,
            failure: failure)
        kernel.commands.append(command)
        return command.pid
    }
}

private func strings(_ list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> [[UInt8]] {
    var strings: [[UInt8]] = []
    while let text = list?[strings.count] {
        strings.append(UnsafeRawBufferPointer(start: text, count: strlen(text)).map { $0 })
    }
    return strings
}

// MARK: memory and time

func fastable_map(_ size: Int) -> UnsafeMutableRawPointer? { call(nil) { $0.map(size) } }

func fastable_map_own(_ size: Int) -> UnsafeMutableRawPointer? { call(nil) { $0.fails() ? nil : $0.map(size) } }

func fastable_map_shared(_ size: Int) -> UnsafeMutableRawPointer? { call(nil) { $0.map(size) } }

func fastable_unmap(_ memory: UnsafeMutableRawPointer?, _ size: Int) {
    if let memory { call(()) { $0.unmap(memory, size) } }
}

func fastable_discard(_ memory: UnsafeMutableRawPointer?, _ size: Int) {
    if let memory { call(()) { $0.discard(memory, size) } }
}

func fastable_monotonic() -> UInt64 { call(0) { $0.now } }

func fastable_realtime() -> UInt64 { call(0) { $0.now } }
