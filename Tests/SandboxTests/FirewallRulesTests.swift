import FastableCore
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

@Suite struct FirewallRulesTests {
    static func rules(resolvers: [String] = ["10.255.255.53"], denied: [String] = []) throws -> FirewallRules {
        FirewallRules(
            instance: "demo", block: InstanceBlock(index: 3, network: try #require(IPv4Network("10.224.48.0/20"))),
            resolvers: resolvers.compactMap { IPv4Address($0) }, denied: denied.compactMap { IPv4Network($0) })
    }

    @Test func theTableIsReplacedInOneStep() throws {
        let rules = try Self.rules()
        #expect(
            rules.text().hasPrefix(
                "table inet fastable_demo\ndelete table inet fastable_demo\ntable inet fastable_demo {"))
        #expect(rules.removal == "table inet fastable_demo\ndelete table inet fastable_demo\n")
    }

    @Test(arguments: [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "0.0.0.0/8",
        "224.0.0.0/3",
    ])
    func privateRangesAreDenied(_ range: String) throws { #expect(try Self.rules().text().contains(range)) }

    @Test func theOperatorsOwnNetworksAreDenied() throws {
        #expect(try Self.rules(denied: ["8.8.0.0/16"]).text().contains(", 8.8.0.0/16 }"))
    }

    @Test func nameServersAreAllowedBeforeTheirRangeIsDenied() throws {
        let lines = try Self.rules().text().split(separator: "\n").map { $0.trimmingPrefix { $0 == " " } }
        let chain = lines.drop { $0 != "chain from_container {" }
        let resolver = try #require(
            chain.firstIndex(of: "ip daddr 10.255.255.53 meta l4proto { tcp, udp } th dport 53 accept"))
        let denied = try #require(chain.firstIndex(of: "ip daddr @denied drop"))
        #expect(resolver < denied)
        #expect(!(try Self.rules(resolvers: []).text().contains("dport 53")))
    }

    @Test func onlyThisInstancesInterfacesAreMeant() throws {
        let text = try Self.rules().text()
        #expect(text.contains("\"fb03-*\""))
        // Each hook looks at its own containers first; nothing else on the host is touched.
        for line in text.split(separator: "\n") where line.contains(" goto ") { #expect(line.contains("\"fb03-*\"")) }
    }

    @Test(.needsRoot)
    func theKernelTakesTheRules() async throws {
        let checked = try await HostCommand(
            "nft", ["-c", "-f", "-"],
            standardInput: .init(
                try Self.rules(denied: ["8.8.0.0/16", "10.1.0.0/16"]).text(cut: ["fb03-0", "fb03-3e7"]).utf8)
        ).run()
        #expect(checked.status.isSuccess, "\(checked.errorText)")
    }
}
