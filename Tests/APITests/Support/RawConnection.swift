import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#endif

/// A TCP connection that says exactly what the test says. Its system calls block, so they run beside the tasks of the test.
struct RawConnection: Sendable {
    struct Failure: Error { var text: String }

    private let connection: BlockingConnection

    init(port: Int) async throws { connection = try await beside { try BlockingConnection(port: port) } }

    func close() { connection.close() }
    func send(_ text: String) async throws { try await beside { try connection.send(text) } }
    /// One head, up to its empty line.
    func readHead() async throws -> String { try await beside { try connection.readHead() } }
    /// A head and the body that its content-length tells.
    func readAnswer() async throws -> String { try await beside { try connection.readAnswer() } }
    /// The server closed its side.
    func readsEnd() async throws -> Bool { try await beside { try connection.readsEnd() } }
}

private func beside<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await blockingThreads.runIfActive(work)
}

/// Threads of their own: on those that tasks run on, blocked tests would hold up the server that they wait for.
private let blockingThreads = {
    let threads = NIOThreadPool(numberOfThreads: 64)
    threads.start()
    return threads
}()

private struct BlockingConnection {
    typealias Failure = RawConnection.Failure

    private let socket: Int32

    init(port: Int) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var timeout = timeval(tv_sec: 120, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        // Not a `sockaddr_in` of our own: in an optimized build its module is another one.
        let result = try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr { address, size in
            connect(socket, address, socklen_t(size))
        }
        guard result == 0 else { throw Failure(text: "connect: \(errno)") }
    }

    func close() { _ = Glibc.close(socket) }

    func send(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(text: "send: \(errno)") }
            rest = rest.dropFirst(count)
        }
    }

    func readHead() throws -> String {
        var head: [UInt8] = []
        while !head.ends(with: "\r\n\r\n".utf8) { head.append(try readByte()) }
        return String(decoding: head, as: UTF8.self)
    }

    func readAnswer() throws -> String {
        let head = try readHead()
        let lines = head.lowercased().split(separator: "\r\n")
        let length = lines.first { $0.hasPrefix("content-length: ") }.flatMap { Int($0.dropFirst(16)) } ?? 0
        var body: [UInt8] = []
        for _ in 0..<length { body.append(try readByte()) }
        return head + String(decoding: body, as: UTF8.self)
    }

    func readsEnd() throws -> Bool {
        var byte: UInt8 = 0
        let count = recv(socket, &byte, 1, 0)
        guard count >= 0 || errno == ECONNRESET else { throw Failure(text: "recv: \(errno)") }
        return count <= 0
    }

    private func readByte() throws -> UInt8 {
        var byte: UInt8 = 0
        let count = recv(socket, &byte, 1, 0)
        guard count == 1 else { throw Failure(text: count == 0 ? "end" : "recv: \(errno)") }
        return byte
    }
}

extension Array where Element == UInt8 {
    fileprivate func ends(with suffix: some Collection<UInt8>) -> Bool {
        count >= suffix.count && self.suffix(suffix.count).elementsEqual(suffix)
    }
}
