import FastableCore
import NodeLinux
import Synchronization
import TestSupport
import Testing

@Suite struct HostCommandStreamTests {
    @Test func bytesGoThrough() async throws {
        let chunks = (0..<200).map { index in [UInt8](repeating: UInt8(index), count: 10_007) }
        let next = Mutex(0)
        let received = Mutex<[UInt8]>([])
        let result = try await HostCommand("cat", []).stream(timeout: .seconds(300)) {
            let index = next.withLock { index in
                index += 1
                return index - 1
            }
            return index < chunks.count ? chunks[index] : nil
        } output: { bytes in
            received.withLock { $0 += bytes }
        }
        #expect(result.status.isSuccess)
        #expect(received.withLock { $0 } == Array(chunks.joined()))
    }

    @Test func slowOutputSlowsTheTool() async throws {
        let sent = Mutex(0)
        let received = Mutex(0)
        let most = Mutex(0)
        _ = try await HostCommand("cat", []).stream(timeout: .seconds(300)) {
            let total = sent.withLock {
                $0 += 16_384
                return $0
            }
            let lead = total - received.withLock { $0 }
            most.withLock { $0 = max($0, lead) }
            return total > 3_000_000 ? nil : [UInt8](repeating: 1, count: 16_384)
        } output: { bytes in
            received.withLock { $0 += bytes.count }
            try await Task.sleep(for: .milliseconds(2))
        }
        // Two pipes and the pieces on the way hold a few hundred KiB.
        #expect(most.withLock { $0 } < 600_000)
    }

    @Test func toolThatDoesNotReadEndsTheInput() async throws {
        let result = try await HostCommand("true", []).stream(timeout: .seconds(300)) {
            try await Task.sleep(for: .milliseconds(1))
            return [UInt8](repeating: 1, count: 1000)
        } output: { _ in
        }
        #expect(result.status.isSuccess)
    }

    @Test func failingSinkKillsTheTool() async throws {
        let error = try await expectError {
            try await HostCommand("yes", []).stream(timeout: .seconds(300)) { _ in
                throw FastableError(.gone, "the reader left")
            }
        }
        #expect(error.code == .gone)
    }

    @Test func timeoutEndsAStream() async throws {
        let error = try await expectError {
            try await HostCommand("sleep", ["60"]).stream(timeout: .milliseconds(100)) { _ in }
        }
        #expect(error.code == .timeout)
    }

    @Test func cancellationEndsAStream() async throws {
        let task = Task { try await HostCommand("sleep", ["60"]).stream(timeout: .seconds(90)) { _ in } }
        try await Task.sleep(for: .milliseconds(50))
        task.cancel()
        let error = try await expectError { try await task.value }
        #expect(error.code == .cancelled)
    }
}
