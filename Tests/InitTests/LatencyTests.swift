import FastableCore
import Foundation
import NIOCore
import NodeSandbox
import TestSupport
import Testing

@Suite("Latency", .measuresOnDemand, .enabled(if: InitProcess.available, "needs root and unshare"), .serialized)
struct LatencyTests {
    /// From the call to the result, for a program that does nothing. The number is printed; the bound only catches accidents.
    @Test func aCommandCostsLittle() async throws {
        try await InitProcess.withTable { table, _ in
            for _ in 0..<50 { _ = try await table.start(["/bin/true"]).finish() }
            var times: [Double] = []
            let clock = ContinuousClock()
            for _ in 0..<500 {
                let start = clock.now
                let reader = try await table.start(["/bin/true"]).events()
                while let chunk = try await reader.next() {
                    if case .finished = chunk { break }
                }
                let time = clock.now - start
                times.append(Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1000)
            }
            times.sort()
            let median = times[250]
            print(
                String(
                    format: "exec of /bin/true: p50 %.3f ms, p99 %.3f ms, best %.3f ms", median, times[495], times[0]))
            #expect(median < 50)
        }
    }

    @Test func streamingIsFast() async throws {
        try await InitProcess.withTable { table, _ in
            let clock = ContinuousClock()
            let start = clock.now
            let reader = try await table.shell("head -c 512M /dev/zero").events()
            var count = 0
            while let chunk = try await reader.next() {
                if case .data(_, let bytes) = chunk { count += bytes.readableBytes }
            }
            let time = clock.now - start
            let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
            print(String(format: "512 MB through init and node: %.0f MB/s", 512 / seconds))
            #expect(count == 512 << 20 && seconds < 60)
        }
    }
}
