import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// A port of loopback that the kernel gives to nobody else while this lives. A server that sets SO_REUSEADDR, as ours do, can listen
/// on it, and again after a restart.
package final class ReservedPort: Sendable {
    package let number: Int
    private let socket: CInt

    package init() throws { (socket, number) = try bindSocket(to: INADDR_LOOPBACK) }

    deinit { close(socket) }
}

/// Runs the body beside a TCP server on all addresses of the host, at a port that the kernel chose. It hangs up on whoever comes:
/// `nc` succeeds then.
package func withHostListener(_ body: (_ port: Int) async throws -> Void) async throws {
    let (socket, port) = try bindSocket(to: INADDR_ANY)
    guard listen(socket, 64) == 0 else {
        close(socket)
        throw FastableError.system(errno, cannot: "listen on port \(port)")
    }
    let server = Task {
        while !Task.isCancelled {
            let client = accept(socket, nil, nil)
            if client >= 0 { close(client) } else { try? await Task.sleep(for: .milliseconds(5)) }
        }
        close(socket)
    }
    defer { server.cancel() }
    try await body(port)
}

/// A socket that does not block, and the port that it got.
private func bindSocket(to host: in_addr_t) throws -> (socket: CInt, port: Int) {
    let flags = CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let number = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | flags, 0)
    guard number >= 0 else { throw FastableError.system(errno, cannot: "make a socket") }
    var isReusable: CInt = 1
    setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &isReusable, socklen_t(MemoryLayout<CInt>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = host.bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(number, $0, length) == 0 ? getsockname(number, $0, &length) : -1
        }
    }
    guard result == 0 else {
        close(number)
        throw FastableError.system(errno, cannot: "bind a socket")
    }
    return (number, Int(UInt16(bigEndian: address.sin_port)))
}
