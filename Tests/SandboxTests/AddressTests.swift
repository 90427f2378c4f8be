import FastableCore
import NodeSandbox
import Testing

@Suite struct AddressTests {
    @Test(arguments: ["10.224.0.0/15", "0.0.0.0/0", "255.255.255.255/32"])
    func aRangeReadsAsItIsWritten(_ text: String) { #expect(IPv4Network(text)?.description == text) }

    @Test(arguments: [
        "", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "10.0.0.0.0/8", "10.0.0.1/8", "010.0.0.0/8",
        "10.0.0.256/32",
        "10.0.0.0/8/8", "a.b.c.d/8", " 10.0.0.0/8", "10.0.0.0/8\n",
    ])
    func anythingElseIsNoRange(_ text: String) { #expect(IPv4Network(text) == nil) }

    @Test func anAddressIsARangeOfOne() { #expect(IPv4Network("192.0.2.7")?.prefix == 32) }

    @Test func rangesOverlapWhenOneHoldsTheOther() throws {
        let wide = try #require(IPv4Network("10.224.0.0/15"))
        let inside = try #require(IPv4Network("10.225.255.0/24"))
        let beside = try #require(IPv4Network("10.226.0.0/15"))
        #expect(wide.overlaps(inside))
        #expect(inside.overlaps(wide))
        #expect(!wide.overlaps(beside))
        let all = try #require(IPv4Network("0.0.0.0/0"))
        #expect(all.overlaps(beside))
    }

    @Test func thirtyTwoBlocksWithoutACommonAddressOrId() throws {
        let blocks = try InstanceBlock.all(in: try #require(IPv4Network("10.224.0.0/15")))
        #expect(blocks.count == 32)
        #expect(blocks.first?.network.description == "10.224.0.0/20")
        #expect(blocks.last?.network.description == "10.225.240.0/20")
        #expect(Set(blocks.map(\.interfacePrefix)).count == 32)
        for (one, next) in zip(blocks, blocks.dropFirst()) {
            #expect(!one.network.overlaps(next.network))
            let last = try one.slot(Limits.projectsPerNode - 1)
            #expect(UInt64(last.uidBase) + UInt64(Slot.idCount) <= UInt64(next.uidBase))
        }
        // Ids must fit into 32 bits, and the highest is no id.
        let highest = try #require(blocks.last).slot(Limits.projectsPerNode - 1)
        #expect(UInt64(highest.uidBase) + UInt64(Slot.idCount) < UInt64(UInt32.max))
    }

    @Test func slotsOfABlockAreApart() throws {
        let block = InstanceBlock(index: 31, network: try #require(IPv4Network("10.225.240.0/20")))
        let first = try block.slot(0)
        let last = try block.slot(999)
        #expect(first.hostAddress.description == "10.225.240.1")
        #expect(first.containerAddress.description == "10.225.240.2")
        #expect(last.network.description == "10.225.255.156/30")
        #expect(last.interface == "fb1f-3e7")
        #expect(last.interface.utf8.count <= 15)
        #expect(block.network.overlaps(last.network))
        let error = #expect(throws: FastableError.self) { try block.slot(1000) }
        #expect(error?.code == .limit)
    }

    @Test func aPoolThatIsTooSmallIsRefused() throws {
        let pool = try #require(IPv4Network("10.0.0.0/21"))
        let error = #expect(throws: FastableError.self) { try InstanceBlock.all(in: pool) }
        #expect(error?.code == .invalid)
    }

    @Test func resolversOnTheHostsLoopbackAreLeftOut() {
        let text =
            "# by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 9.9.9.9 # quad\nnameserver ::1\noptions edns0\n"
        #expect(Resolvers.parse(text).map(\.description) == ["9.9.9.9"])
        #expect(Resolvers.parse("").isEmpty)
    }

    @Test func theInstanceMustBeAbleToNameThingsInTheKernel() throws {
        for bad in ["", "-a", "A", "a_b", "a b", "a/b", String(repeating: "a", count: 25), "ä"] {
            let error = #expect(throws: FastableError.self) { try NodePaths(instance: bad, state: "/s", run: "/r") }
            #expect(error?.code == .invalid)
        }
        #expect(try NodePaths.standard(instance: "demo-2").state == "/var/lib/fastable/demo-2/node")
    }
}
