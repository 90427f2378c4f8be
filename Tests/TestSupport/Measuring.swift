#if canImport(Glibc)
    import Glibc
#endif

/// Runs the body many times, after some runs that do not count, and prints how long it takes.
package func measure(_ what: String, count: Int = 2000, _ body: () async throws -> Void) async throws {
    for _ in 0..<(count / 10) { try await body() }
    var times: [Duration] = []
    let clock = ContinuousClock()
    for _ in 0..<count { times.append(try await clock.measure { try await body() }) }
    times.sort()
    let microseconds = [50, 95, 99].map { "p\($0) \(Int(times[count * $0 / 100] / .microseconds(1))) µs" }
    print("\(what): \(microseconds.joined(separator: ", "))")
}

/// How long the body works on its thread: what else the machine does meanwhile does not count.
package func threadSeconds(_ body: () throws -> Void) rethrows -> Double {
    let began = threadTime()
    try body()
    return threadTime() - began
}

private func threadTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
