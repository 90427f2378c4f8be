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
