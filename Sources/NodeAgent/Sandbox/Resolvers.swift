import Glibc
import NodeLinux

/// The name servers that containers use.
package enum Resolvers {
    /// Those of the host, as far as a container can reach them: a server on the host's loopback interface, like the stub of
    /// systemd-resolved, is left out, and that service's own list of servers is read instead.
    package static func ofHost(
        files: [String] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"]
    ) -> [IPv4Address] {
        for path in files {
            guard let file = try? FileDescriptor(opening: path, O_RDONLY),
                let bytes = try? file.readAll(limit: 64 * 1024)
            else { continue }
            let found = parse(String(decoding: bytes, as: UTF8.self))
            if !found.isEmpty { return found }
        }
        return []
    }

    package static func parse(_ text: String) -> [IPv4Address] {
        let servers = text.split(separator: "\n").compactMap { line -> IPv4Address? in
            let fields = line.split(whereSeparator: \.isWhitespace)
            guard fields.count >= 2, fields[0] == "nameserver" else { return nil }
            return IPv4Address(String(fields[1]))
        }
        // The C library reads no more than three.
        return Array(servers.filter { !$0.isLoopback }.prefix(3))
    }

    static func file(_ servers: [IPv4Address]) -> String {
        servers.map { "nameserver \($0)\n" }.joined()
    }
}
