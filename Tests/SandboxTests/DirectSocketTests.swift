import Glibc
import NIOCore
import NIOPosix
import NodeSandbox
import TestSupport
import Testing

@Suite(.endsInTime) struct DirectSocketTests {
    /// The other end reads so slowly that bytes go both ways by turns, again and again.
    @Test func bytesNeverOvertakeEachOther() async throws {
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let reader = ends[1]
        defer { close(reader) }
        let direct = DirectSocket(copying: ends[0])
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .withConnectedSocket(ends[0]).get()
        let count = 200_000
        let sender = Task.detached {
            for number in 0..<count {
                direct.send(ByteBuffer(integer: UInt64(number)), through: channel)
                if number.isMultiple(of: 5000) { await Task.yield() }
            }
        }
        let received = try await blocking {
            var bytes: [UInt8] = []
            while bytes.count < count * 8 {
                var part = [UInt8](repeating: 0, count: Int.random(in: 1...100_000))
                let size = read(reader, &part, part.count)
                guard size > 0 else { break }
                bytes += part.prefix(size)
                if Int.random(in: 0..<20) == 0 { usleep(2000) }
            }
            return bytes
        }
        await sender.value
        var numbers = ByteBuffer(bytes: received)
        for number in 0..<count {
            guard numbers.readInteger(as: UInt64.self) == UInt64(number) else {
                Issue.record("the bytes are out of order at \(number)")
                break
            }
        }
        #expect(numbers.readableBytes == 0)
        direct.close()
        try await channel.close()
    }

    /// As long as there were a copy, init would believe that the node is there.
    @Test func theConnectionEndsWithIt() async throws {
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let reader = ends[1]
        defer { close(reader) }
        let direct = DirectSocket(copying: ends[0])
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .withConnectedSocket(ends[0]).get()
        try await channel.close()
        // What comes too late is nobody's.
        direct.close()
        direct.send(ByteBuffer(string: "late"), through: channel)
        let size = try await blocking {
            var part = [UInt8](repeating: 0, count: 16)
            return read(reader, &part, part.count)
        }
        #expect(size == 0)
    }
}
