import FastableCore

#if canImport(Glibc)
    import Glibc
#endif

/// Sends datagrams to the socket that systemd names in `NOTIFY_SOCKET`: a path, or `@name` in the abstract namespace.
struct SystemdSocket: Sendable {
    let name: String

    /// - Returns: `nil` when there is no socket, or none of a kind that a Unix datagram can reach.
    init?(environment: [String: String]) {
        guard let name = environment["NOTIFY_SOCKET"], name.hasPrefix("/") || name.hasPrefix("@"),
            name.utf8.count > 1, name.utf8.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        else { return nil }
        self.name = name
    }

    /// Tells systemd something.
    ///
    /// - Throws: what the system says when nobody listens.
    func send(_ message: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw FastableError.system(errno, cannot: "make a socket for systemd") }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(name.utf8)
        // A zero byte begins a name in the abstract namespace; such a name ends with its length, not with a zero.
        if path.first == UInt8(ascii: "@") { path[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path).map { $0 + path.count } ?? 0)
        let bytes = Array(message.utf8)
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
        guard sent == bytes.count else { throw FastableError.system(errno, cannot: "tell systemd ‘\(message)’") }
    }
}
