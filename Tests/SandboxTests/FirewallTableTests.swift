import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

/// Somebody changed the rules: what of it is seen.
@Suite struct FirewallTableTests {
    private static func table(_ entries: String...) throws -> FirewallTable {
        let listing =
            "{\"nftables\": [{\"metainfo\": {\"version\": \"1.0.6\"}}, " + entries.joined(separator: ", ") + "]}"
        return try FirewallTable(listing: Data(listing.utf8))
    }

    private static func rule(_ chain: String, _ verdict: String, handle: Int) -> String {
        "{\"rule\": {\"chain\": \"\(chain)\", \"handle\": \(handle), \"expr\": [{\"\(verdict)\": null}]}}"
    }

    @Test func handlesAndVersionsDoNotCount() throws {
        let one = try Self.table(Self.rule("a", "drop", handle: 1), Self.rule("a", "accept", handle: 2))
        let other = try Self.table(Self.rule("a", "drop", handle: 7), Self.rule("a", "accept", handle: 8))
        #expect(one.difference(from: other) == nil)
    }

    @Test func everyChangeIsNamed() throws {
        let drop = Self.rule("a", "drop", handle: 1)
        let accept = Self.rule("a", "accept", handle: 2)
        let ours = try Self.table(drop, accept)
        let removed = try #require(try Self.table(accept).difference(from: ours))
        #expect(removed.hasPrefix("removed ") && removed.contains("drop") && !removed.contains("accept"))
        let added = try #require(try Self.table(accept, drop, accept).difference(from: ours))
        #expect(added.hasPrefix("added ") && added.contains("accept") && !added.contains("removed"))
        #expect(try Self.table(accept, drop).difference(from: ours) == "the order was changed")
        let both = try #require(try Self.table(drop, Self.rule("b", "accept", handle: 3)).difference(from: ours))
        #expect(both.contains("removed ") && both.contains("added "))
    }
}

extension ContainerTests {
    @Suite(.serialized) struct ChangedRules {
        private static func table(_ node: TestNode) -> String { "inet fastable_\(node.configuration.paths.instance)" }

        private static func current(_ node: TestNode) async throws -> FirewallTable {
            try FirewallTable(listing: try #require(try await NetworkTools.table(table(node))))
        }

        /// The handle of the first rule whose text has these words.
        private static func handle(_ node: TestNode, _ chain: String, _ words: String) async throws -> String {
            let arguments = ["-a", "list", "chain"] + table(node).split(separator: " ").map(String.init) + [chain]
            let lines = try await HostCommand("nft", arguments).runChecked("list").text.split(separator: "\n")
            let line = try #require(lines.first { $0.contains(words) })
            return String(try #require(line.split(separator: " ").last))
        }

        @Test func nothingIsDoneWhileTheyAreOurs() async throws {
            try await TestNode.with { node in
                let log = LogRecorder()
                try await node.restart(log.logger)
                let handle = try await Self.handle(node, "from_container", "@denied drop")
                for _ in 0..<3 { try await node.manager.checkNetwork() }
                _ = try await node.manager.ensure(node.project())
                #expect(try await Self.handle(node, "from_container", "@denied drop") == handle)
                #expect(log.count("firewall rules") == 0)
            }
        }

        @Test func aRemovedRuleAndAForeignOneAreMended() async throws {
            try await FakeInternet.with { internet in
                try await TestNode.with { node in
                    let log = LogRecorder()
                    try await node.restart(log.logger)
                    let table = Self.table(node)
                    let ours = try await Self.current(node)
                    let spec = node.project()
                    let denied = "\(internet.deniedAddresses[0]):\(FakeInternet.port)"
                    try await Networking.expect(node, spec, denied, answers: false)

                    let rule = try await Self.handle(node, "from_container", "@denied drop")
                    try await NetworkTools.nft(
                        "delete rule \(table) from_container handle \(rule)\n", doing: "delete a rule")
                    try await Networking.expect(node, spec, denied, answers: true)
                    try await node.manager.checkNetwork()
                    #expect(try await Self.current(node) == ours)
                    try await Networking.expect(node, spec, denied, answers: false)
                    #expect(log.count("change=removed") == 1)

                    try await NetworkTools.nft("insert rule \(table) from_container accept\n", doing: "add a rule")
                    try await Networking.expect(node, spec, denied, answers: true)
                    try await node.manager.checkNetwork()
                    #expect(try await Self.current(node) == ours)
                    try await Networking.expect(node, spec, denied, answers: false)
                    #expect(log.count("change=added") == 1)
                }
            }
        }

        /// Each of these opens the table without removing or adding a rule.
        @Test(arguments: [
            "delete element TABLE denied { 10.0.0.0/8 }", "add table TABLE { flags dormant; }",
            "add chain TABLE stranger { type filter hook forward priority filter - 20; policy accept; }",
            "flush chain TABLE forward", "delete table TABLE",
        ])
        func otherChangesAreMendedWhenAContainerStarts(change: String) async throws {
            try await TestNode.with { node in
                let ours = try await Self.current(node)
                try await NetworkTools.nft(
                    change.replacing("TABLE", with: Self.table(node)) + "\n", doing: "change the rules")
                _ = try await node.manager.ensure(node.project())
                #expect(try await Self.current(node) == ours)
            }
        }
    }
}

@Suite(.enabled(if: Host.isRoot, "needs root")) struct OlderFirewallTests {
    @Test func itsErrorsAreLoggedOnceAndTheRulesStand() async throws {
        let directory = try TemporaryDirectory()
        let tool = directory.path + "/iptables"
        let flag = directory.path + "/works"
        let script = "#!/bin/sh\n[ -e \(flag) ] && exit 0\necho 'Table does not exist' >&2\nexit 3\n"
        try AtomicFile.write(tool, Array(script.utf8), mode: 0o755)
        let rules = FirewallRules(
            instance: "t" + String(UInt32.random(in: .min ... .max), radix: 36),
            block: InstanceBlock(index: 31, network: try #require(IPv4Network("10.255.240.0/20"))), resolvers: [],
            denied: [])
        let forwarding = directory.path + "/forwarding"
        try AtomicFile.write(forwarding, Array("1\n".utf8))
        let log = LogRecorder()
        let firewall = Firewall(
            rules: rules, forwarding: Forwarding(setting: forwarding, note: directory.path + "/note"),
            olderTool: tool, logger: log.logger)
        try await firewall.apply()
        do {
            try await firewall.check()
            #expect(try await NetworkTools.tables().contains(rules.table))
            #expect(log.count("the older firewall of the host cannot be changed") == 1)
            #expect(log.count("Table does not exist") == 1)
            // When it works again and fails once more, that is news.
            try AtomicFile.write(flag, [])
            try await firewall.check()
            unlink(flag)
            try await firewall.check()
            #expect(log.count("Table does not exist") == 2)
        } catch {
            try await firewall.remove()
            throw error
        }
        try await firewall.remove()
        #expect(!(try await NetworkTools.tables().contains(rules.table)))
    }
}
