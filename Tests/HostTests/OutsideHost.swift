import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

/// A machine at a public address, in a network namespace of its own, with a web server.
final class OutsideHost: Sendable {
    let address: String
    private let name: String
    private let server: Process

    static let port = 8080

    static func with(_ body: (OutsideHost) async throws -> Void) async throws {
        let host = try OutsideHost()
        defer { host.remove() }
        try await eventually("the server beyond the host answers") { await host.answersToTheHost() }
        try await body(host)
    }

    private init() throws {
        // 11.0.0.0/8 is public and routed nowhere here.
        let (a, b) = (Int.random(in: 1...254), Int.random(in: 1...254))
        (name, address) = ("fbo-\(String(UInt16.random(in: .min ... .max), radix: 16))", "11.\(a).\(b).2")
        server = Process()
        func ip(_ words: String) throws { try HostFacts.run("ip", words.split(separator: " ").map(String.init)) }
        do {
            try ip("netns add \(name)")
            try ip("link add \(name) type veth peer name eth0 netns \(name)")
            try ip("addr add 11.\(a).\(b).1/30 dev \(name)")
            try ip("link set \(name) up")
            try ip("-n \(name) link set lo up")
            try ip("-n \(name) addr add \(address)/30 dev eth0")
            try ip("-n \(name) link set eth0 up")
            try ip("-n \(name) route add default via 11.\(a).\(b).1")
            // Not by ‘ip netns exec’: that gives a program a copy of all mounts, and with it other tests' disks.
            server.executableURL = URL(filePath: "/usr/bin/env")
            server.arguments =
                [
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "nsenter", "--net=/run/netns/\(name)", "--", "busybox",
                    "httpd", "-f",
                ]
                + ["-p", "\(Self.port)", "-h", "/etc/dpkg/origins"]
            try server.run()
        } catch {
            remove()
            throw error
        }
    }

    private func answersToTheHost() async -> Bool {
        let request = HTTPClientRequest(url: "http://\(address):\(Self.port)/debian")
        return (try? await HTTPClient.shared.execute(request, timeout: .seconds(2)))?.status == .ok
    }

    /// A command that succeeds where a connection to the server can be made.
    var request: String { "nc -w 5 \(address) \(Self.port) < /dev/null" }

    private func remove() {
        // What a thread of tasks starts has its signals blocked.
        if server.isRunning { kill(server.processIdentifier, SIGKILL) }
        _ = try? HostFacts.run("ip", ["link", "del", name])
        _ = try? HostFacts.run("ip", ["netns", "del", name])
    }
}
