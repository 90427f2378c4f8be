import FastableCore
import Glibc
import NodeSandbox
import TestSupport
import Testing

@Suite struct BlockRegistryTests {
    /// Instances of one machine, in a directory of the test's own.
    final class Machine {
        let directory: TemporaryDirectory
        init() throws { directory = try TemporaryDirectory() }

        func registry(_ instance: String) throws -> BlockRegistry {
            let state = directory.path + "/" + instance
            mkdir(state, 0o700)
            return BlockRegistry(
                paths: try NodePaths(
                    instance: instance, state: state, run: "/unused", blocks: directory.path + "/blocks"))
        }

        func forget(_ instance: String) {
            unlink(directory.path + "/" + instance + "/block")
            rmdir(directory.path + "/" + instance)
        }
    }

    static func pool(_ text: String = "10.224.0.0/15") throws -> IPv4Network { try #require(IPv4Network(text)) }

    @Test func aLeaseIsKept() throws {
        let machine = try Machine()
        let first = try machine.registry("a").lease(pool: Self.pool()) { _ in true }
        let second = try machine.registry("b").lease(pool: Self.pool()) { _ in true }
        #expect(first.index == 0)
        #expect(second.index == 1)
        #expect(try machine.registry("a").lease(pool: Self.pool()) { _ in true } == first)
    }

    @Test func aBlockThatTheHostUsesIsPassedOver() throws {
        let machine = try Machine()
        let taken = try Self.pool("10.224.0.0/18")
        let block = try machine.registry("a").lease(pool: Self.pool()) { !$0.network.overlaps(taken) }
        #expect(block.network.description == "10.224.64.0/20")
        let error = #expect(throws: FastableError.self) {
            try machine.registry("a").lease(pool: Self.pool()) { _ in false }
        }
        #expect(error?.code == .conflict)
    }

    @Test func whatIsGivenBackOrLeftBehindIsFree() throws {
        let machine = try Machine()
        for name in ["a", "b", "c"] { _ = try machine.registry(name).lease(pool: Self.pool()) { _ in true } }
        try machine.registry("b").release()
        #expect(try machine.registry("d").lease(pool: Self.pool()) { _ in true }.index == 1)
        machine.forget("a")
        // Its disk may be late: others take what nobody has, as long as there is any.
        for index in 3..<32 {
            #expect(try machine.registry("n\(index)").lease(pool: Self.pool()) { _ in true }.index == index)
        }
        #expect(try machine.registry("e").lease(pool: Self.pool()) { _ in true }.index == 0)
        #expect(try machine.registry("c").lease(pool: Self.pool()) { _ in true }.index == 2)
    }

    /// The ids of its files hang on the block.
    @Test func whoComesBackHasTheBlockOfItsFilesOrNone() throws {
        let machine = try Machine()
        for name in ["a", "b"] { _ = try machine.registry(name).lease(pool: Self.pool()) { _ in true } }
        let (a, away) = (machine.directory.path + "/a", machine.directory.path + "/away")
        #expect(rename(a, away) == 0)
        #expect(try machine.registry("c").lease(pool: Self.pool()) { _ in true }.index == 2)
        rename(away, a)
        #expect(try machine.registry("a").lease(pool: Self.pool()) { _ in true }.index == 0)
        // The machine has forgotten it.
        unlink(machine.directory.path + "/blocks/0")
        #expect(try machine.registry("a").lease(pool: Self.pool()) { _ in true }.index == 0)
        // Another one got it meanwhile.
        #expect(rename(a, away) == 0)
        for index in 3..<32 { _ = try machine.registry("n\(index)").lease(pool: Self.pool()) { _ in true } }
        #expect(try machine.registry("d").lease(pool: Self.pool()) { _ in true }.index == 0)
        rename(away, a)
        let error = #expect(throws: FastableError.self) {
            try machine.registry("a").lease(pool: Self.pool()) { _ in true }
        }
        #expect(error?.code == .conflict && error?.message.contains("‘d’") == true)
        try machine.registry("d").release()
        #expect(try machine.registry("a").lease(pool: Self.pool()) { _ in true }.index == 0)
    }

    @Test func aFullMachineSaysSo() throws {
        let machine = try Machine()
        for number in 0..<32 { _ = try machine.registry("n\(number)").lease(pool: Self.pool()) { _ in true } }
        let error = #expect(throws: FastableError.self) {
            try machine.registry("more").lease(pool: Self.pool()) { _ in true }
        }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("addressPool") == true)
    }

    @Test func anotherPoolKeepsTheIds() throws {
        let machine = try Machine()
        _ = try machine.registry("a").lease(pool: Self.pool()) { _ in true }
        let before = try machine.registry("b").lease(pool: Self.pool()) { _ in true }
        let after = try machine.registry("b").lease(pool: Self.pool("172.20.0.0/15")) { _ in true }
        #expect(after.index == before.index)
        #expect(after.uidBase == before.uidBase)
        #expect(after.network.description == "172.20.16.0/20")
    }

    @Test func noTwoOfManyGetTheSame() async throws {
        let machine = try Machine()
        let registries = try (0..<16).map { try machine.registry("n\($0)") }
        let blocks = try await withThrowingTaskGroup(of: InstanceBlock.self) { group in
            for registry in registries { group.addTask { try registry.lease(pool: Self.pool()) { _ in true } } }
            return try await group.reduce(into: [InstanceBlock]()) { $0.append($1) }
        }
        #expect(Set(blocks.map(\.index)).count == 16)
    }

    @Test func forwardingIsPutBackOnlyByThoseWhoSwitchedItOn() throws {
        let directory = try TemporaryDirectory()
        let setting = directory.path + "/ip_forward"
        let note = directory.path + "/note"
        let forwarding = Forwarding(setting: setting, note: note, interfaces: directory.path + "/net")

        try AtomicFile.write(setting, Array("0\n".utf8))
        try forwarding.enable()
        #expect(try SmallFile.read(setting, atMost: 16)?.first == UInt8(ascii: "1"))
        try forwarding.enable()
        try forwarding.restore()
        #expect(try SmallFile.read(setting, atMost: 16)?.first == UInt8(ascii: "0"))

        // Docker came after us, found it on, and needs it.
        try forwarding.enable()
        for folder in ["/net", "/net/docker0", "/net/docker0/bridge"] { mkdir(directory.path + folder, 0o755) }
        try forwarding.restore()
        #expect(try SmallFile.read(setting, atMost: 16)?.first == UInt8(ascii: "1"))
        #expect(access(note, F_OK) != 0)

        try forwarding.enable()
        try forwarding.restore()
        #expect(try SmallFile.read(setting, atMost: 16)?.first == UInt8(ascii: "1"))
    }
}
