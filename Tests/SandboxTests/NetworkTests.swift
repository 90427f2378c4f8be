import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

extension ContainerTests {
    @Suite(.serialized) struct Networking {
        static func expect(
            _ node: TestNode, _ spec: ContainerSpec, _ address: String, answers: Bool,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let result = try await node.sh(spec, Server.request(address, seconds: answers ? 10 : 1))
            #expect((result.status == 0) == answers, "\(address) \(result.err)", sourceLocation: sourceLocation)
        }

        @Test func thePublicInternetCanBeReachedAndPrivateNetworksCannot() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let spec = node.project()
                    try await Self.expect(node, spec, "\(internet.publicAddress):\(FakeInternet.port)", answers: true)
                    for address in internet.deniedAddresses {
                        // The host itself can: it is the rules that keep the container from it.
                        #expect(await Server.answers("\(address):\(FakeInternet.port)"), "\(address)")
                        try await Self.expect(node, spec, "\(address):\(FakeInternet.port)", answers: false)
                    }
                }
            }
        }

        @Test func networksOfTheOperatorCanBeDenied() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with {
                    $0.deniedNetworks = [internet.publicAddress]
                } _: { node in
                    try await Self.expect(
                        node, node.project(), "\(internet.publicAddress):\(FakeInternet.port)", answers: false)
                }
            }
        }

        @Test func aNameServerAnswersOnItsPortOnly() async throws {
            try await FakeInternet.with { internet in
                let resolver = internet.deniedAddresses[0]
                try await TestNode.with {
                    $0.resolvers = [resolver]
                } _: { node in
                    let spec = node.project()
                    #expect(try await node.sh(spec, "cat /etc/resolv.conf").out == "nameserver \(resolver)\n")
                    try await Self.expect(node, spec, "\(resolver):\(FakeInternet.dnsPort)", answers: true)
                    try await Self.expect(node, spec, "\(resolver):\(FakeInternet.port)", answers: false)
                    try await Self.expect(
                        node, spec, "\(internet.deniedAddresses[1]):\(FakeInternet.dnsPort)", answers: false)
                }
            }
        }

        @Test func noServiceOfTheHostCanBeReached() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                let container = try await node.sh(spec, "ip -4 addr show dev eth0").out
                let own = try #require(
                    container.split(separator: " ").first { $0.hasSuffix("/30") }?.split(separator: "/").first)
                let gateway =
                    own.split(separator: ".").dropLast().joined(separator: ".") + "."
                    + "\((Int(own.split(separator: ".").last ?? "") ?? 0) - 1)"
                try await withHostListener { port in
                    func hostAddresses() async throws -> [String] {
                        let text = try await HostCommand("hostname", ["-I"]).run().text
                        return text.split { $0.isWhitespace }.map(String.init).filter { $0.contains(".") }
                    }
                    let addresses = ["127.0.0.1", gateway] + (try await hostAddresses())
                    for address in addresses {
                        guard await Server.answers("\(address):\(port)") else {
                            // Another test's network may have gone meanwhile.
                            #expect(
                                try await !(hostAddresses() + addresses.prefix(2)).contains(address),
                                "control: \(address)")
                            continue
                        }
                        try await Self.expect(node, spec, "\(address):\(port)", answers: false)
                    }
                }
            }
        }

        @Test func containersDoNotReachEachOtherNorTheHostThem() async throws {
            try await TestNode.with { node in
                let one = node.project()
                let two = node.project()
                for spec in [one, two] { try await node.sh(spec, "httpd -p 8080 -h /workspace") }
                var addresses: [String] = []
                for spec in [one, two] {
                    let text = try await node.sh(spec, "ip -4 addr show dev eth0").out
                    addresses.append(
                        String(try #require(text.split(separator: " ").first { $0.hasSuffix("/30") }).dropLast(3)))
                }
                try await Self.expect(node, one, "127.0.0.1:8080", answers: true)
                try await Self.expect(node, two, "\(addresses[1]):8080", answers: true)
                try await Self.expect(node, one, "\(addresses[1]):8080", answers: false)
                try await Self.expect(node, two, "\(addresses[0]):8080", answers: false)
                #expect(!(await Server.answers("\(addresses[0]):8080", seconds: 1)))
            }
        }

        @Test func thereIsNoIPv6() async throws {
            try await TestNode.with { node in
                let spec = node.project()
                #expect(try await node.sh(spec, "cat /proc/net/if_inet6 2>/dev/null").out == "")
                let container = try await node.manager.ensure(spec)
                let host = try await HostCommand("ip", ["-6", "addr", "show"]).run().text
                #expect(!host.contains(node.manager.block.interfacePrefix), "\(container.id)")
            }
        }

        /// What a container that broke out of its user namespace's limits could try: another source address.
        @Test func foreignSourceAddressesAreDropped() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let spec = node.project()
                    let target = "\(internet.publicAddress):\(FakeInternet.port)"
                    try await Self.expect(node, spec, target, answers: true)
                    let namespace = "/proc/\(try node.pid(spec))/ns/net"
                    // An address of the next slot, which the masquerading rule would take.
                    let neighbour = try node.manager.block.slot(999).containerAddress.description
                    try await FakeInternet.ip(
                        [
                            "addr add \(neighbour)/32 dev eth0",
                            "route change default via \(try node.manager.block.slot(0).hostAddress) src \(neighbour)",
                        ],
                        in: namespace, doing: "spoof")
                    try await Self.expect(node, spec, target, answers: false)
                }
            }
        }

        @Test func flushedRulesComeBack() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let spec = node.project()
                    let denied = "\(internet.deniedAddresses[0]):\(FakeInternet.port)"
                    try await Self.expect(node, spec, denied, answers: false)
                    try await NetworkTools.nft(
                        "delete table inet fastable_\(node.configuration.paths.instance)\n", doing: "flush")
                    try await node.manager.checkNetwork()
                    try await Self.expect(node, spec, denied, answers: false)
                    try await Self.expect(node, spec, "\(internet.publicAddress):\(FakeInternet.port)", answers: true)
                }
            }
        }
    }
}
