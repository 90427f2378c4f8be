/// What an instance's containers may send and receive, as an nftables table of its own. Loaded once: the rules know containers
/// by the beginning of their interfaces' names.
public struct FirewallRules: Sendable {
    public let instance: String
    public let block: InstanceBlock
    /// Name servers that containers may ask, and nothing else there.
    public let resolvers: [IPv4Address]
    /// Denied beside the ranges that are always denied: the operator's own networks that have public addresses.
    public let denied: [IPv4Network]

    public init(instance: String, block: InstanceBlock, resolvers: [IPv4Address], denied: [IPv4Network]) {
        self.instance = instance
        self.block = block
        self.resolvers = resolvers
        self.denied = denied
    }

    /// Everything that is not the public internet: “this” network, private, shared, loopback, link-local with the cloud's
    /// metadata service, protocol assignments, documentation, benchmarks, multicast and reserved.
    static let neverPublic = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    ].compactMap { IPv4Network($0) }

    public var table: String { "inet fastable_\(instance)" }

    /// Removes the table; it may be missing.
    public var removal: String { "table \(table)\ndelete table \(table)\n" }

    /// The set of interfaces through which nothing passes, in either direction.
    static let cutSet = "cut"

    /// Replaces the table in one step: at no moment is there none.
    ///
    /// IPv6 is dropped as a whole. A packet is only taken from the interface that its source address is routed to. Destinations
    /// are checked for every packet, not only for the first of a flow, so that a tightened table cuts what is under way.
    /// A kill switch drops every packet of a container before anything else is asked, so that flows under way stop too.
    ///
    /// - Parameter cut: the interfaces of the containers whose network is switched off.
    public func text(cut: Set<String> = []) -> String {
        let elements = cut.sorted().map { "\"\($0)\"" }.joined(separator: ", ")
        let containers = "\"\(block.interfacePrefix)*\""
        return removal + """
            table \(table) {
                set denied {
                    type ipv4_addr
                    flags interval
                    auto-merge
                    elements = { \((Self.neverPublic + denied).map(\.description).joined(separator: ", ")) }
                }
                set \(Self.cutSet) {
                    type ifname
            \(cut.isEmpty ? "" : "        elements = { \(elements) }\n")    }
                chain source {
                    type filter hook prerouting priority raw; policy accept;
                    iifname @\(Self.cutSet) drop
                    iifname \(containers) meta nfproto != ipv4 drop
                    iifname \(containers) fib saddr . iif oif missing drop
                }
                chain to_host {
                    type filter hook input priority filter - 10; policy accept;
                    iifname \(containers) goto from_container_to_host
                }
                chain from_container_to_host {
            \(resolverRules)        drop
                }
                chain from_host {
                    type filter hook output priority filter - 10; policy accept;
                    oifname @\(Self.cutSet) drop
                    oifname \(containers) goto to_container
                }
                chain forward {
                    type filter hook forward priority filter - 10; policy accept;
                    oifname @\(Self.cutSet) drop
                    iifname \(containers) goto from_container
                    oifname \(containers) goto to_container
                }
                chain from_container {
                    oifname \(containers) drop
            \(resolverRules)        ip daddr @denied drop
                    fib daddr type != unicast drop
                    ct state invalid drop
                    tcp flags syn tcp option maxseg size set rt mtu
                    accept
                }
                chain to_container {
                    meta nfproto ipv4 ct state established,related accept
                    drop
                }
                chain translate {
                    type nat hook postrouting priority srcnat; policy accept;
                    ip saddr \(block.network) oifname != \(containers) masquerade
                }
            }

            """
    }

    private var resolverRules: String {
        resolvers.map { "        ip daddr \($0) meta l4proto { tcp, udp } th dport 53 accept\n" }.joined()
    }
}
