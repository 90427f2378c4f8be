import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import TestSupport
import Testing

/// A network beyond the host, with a web server at a public address and at addresses of ranges that containers must not reach.
final class FakeInternet: Sendable {
    let publicAddress: String
    /// One in each denied range that a network beyond the host could have.
    let deniedAddresses: [String]
    private let name: String
    private let servers: [Task<Void, Never>]

    static let port = 8080
    static let dnsPort = 53

    private init(name: String, publicAddress: String, denied: [String], servers: [Task<Void, Never>]) {
        self.name = name
        self.publicAddress = publicAddress
        self.deniedAddresses = denied
        self.servers = servers
    }

    static func with(_ body: (FakeInternet) async throws -> Void) async throws {
        // 11.0.0.0/8 is public and routed nowhere here.
        let (a, b) = (Int.random(in: 1...254), Int.random(in: 1...254))
        let name = "fbi-\(String(UInt16.random(in: .min ... .max), radix: 16))"
        let denied = ["10.99", "172.16", "192.168", "169.254", "100.64", "198.18"].map { "\($0).\(a).\(b)" }
        let internet = try await make(name, "11.\(a).\(b)", denied)
        do { try await body(internet) } catch {
            await internet.remove()
            throw error
        }
        await internet.remove()
    }

    private static func make(_ name: String, _ prefix: String, _ denied: [String]) async throws -> FakeInternet {
        let address = prefix + ".2"
        var servers: [Task<Void, Never>] = []
        do {
            try await HostCommand("ip", ["netns", "add", name]).runChecked("make a namespace")
            try await ip(
                [
                    "link add \(name) type veth peer name eth0 netns \(name)", "addr add \(prefix).1/30 dev \(name)",
                    "link set \(name) up",
                ]
                    + denied.map { "route add \($0)/32 dev \(name)" }, doing: "connect the fake internet")
            try await ip(
                [
                    "link set lo up", "addr add \(address)/30 dev eth0", "link set eth0 up",
                    "route add default via \(prefix).1",
                ]
                    + denied.map { "addr add \($0)/32 dev eth0" }, in: "/run/netns/\(name)",
                doing: "set up the fake internet")
            for port in [port, dnsPort] {
                servers.append(
                    // Not by ‘ip netns exec’: that gives a program a copy of all mounts, and with it other tests' disks.
                    Server.start([
                        "nsenter", "--net=/run/netns/\(name)", "--", "busybox", "httpd", "-f", "-p", "\(port)", "-h",
                        "/etc/dpkg/origins",
                    ]))
            }
            try await eventually { await Server.answers("\(address):\(Self.port)", seconds: 1) }
        } catch {
            for server in servers { server.cancel() }
            _ = try? await HostCommand("ip", ["netns", "del", name]).run()
            throw error
        }
        return FakeInternet(name: name, publicAddress: address, denied: denied, servers: servers)
    }

    /// Runs commands of `ip`, one a line, in the host's network namespace or in another one given by a path. Stops at the first that fails.
    static func ip(_ commands: [String], in namespace: String? = nil, doing what: String) async throws {
        let words = (namespace.map { ["nsenter", "--net=" + $0, "--"] } ?? []) + ["ip", "-batch", "-"]
        let input = Data((commands.joined(separator: "\n") + "\n").utf8)
        try await HostCommand(words[0], Array(words.dropFirst()), standardInput: input).runChecked(what)
    }

    /// Runs a program beyond the host.
    func start(_ command: [String]) -> Task<Void, Never> {
        Server.start(["nsenter", "--net=/run/netns/\(name)", "--"] + command)
    }

    private func remove() async {
        for server in servers {
            server.cancel()
            await server.value
        }
        _ = try? await HostCommand("ip", ["link", "del", name]).run()
        do { try await HostCommand("ip", ["netns", "del", name]).runChecked("remove a namespace") } catch {
            Issue.record("\(error)")
        }
    }
}

/// busybox's web server, and the question whether one answers.
enum Server {
    static func start(_ command: [String]) -> Task<Void, Never> {
        Task { _ = try? await HostCommand(command[0], Array(command.dropFirst())).run(timeout: .seconds(280)) }
    }

    static func answers(_ address: String, seconds: Int = 10) async -> Bool {
        let command = "busybox " + request(address, seconds: seconds)
        let result = try? await HostCommand("busybox", ["sh", "-c", command]).run()
        return result?.status.isSuccess ?? false
    }

    /// A shell command that succeeds when a server answers at `address:port`. Where it must, it may take long on a busy machine.
    static func request(_ address: String, seconds: Int) -> String {
        "nc -w \(seconds) \(address.replacing(":", with: " ")) </dev/null"
    }
}
