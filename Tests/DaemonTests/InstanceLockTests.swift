import FastableCore
import FastableDaemon
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct InstanceLockTests {
    @Test func keepsTheSecondAway() throws {
        let directory = try TemporaryDirectory()
        let first = try InstanceLock(directory: directory.path, program: "fastable-node")
        expectFailure(.conflict, "fastable-node (process \(getpid()))", directory.path) {
            _ = try InstanceLock(directory: directory.path, program: "fastable-node")
        }
        withExtendedLifetime(first) {}
    }

    @Test func isGivenBack() throws {
        let directory = try TemporaryDirectory()
        for _ in 0..<3 {
            let lock = try InstanceLock(directory: directory.path, program: "fastable-node")
            withExtendedLifetime(lock) {}
        }
        let text = try #require(try SmallFile.read(directory.path + "/lock", atMost: 100))
        #expect(String(decoding: text, as: UTF8.self) == "\(getpid())\n")
    }

    @Test func anOldProcessIDIsReplaced() throws {
        let directory = try TemporaryDirectory()
        _ = try directory.file("lock", "123456789012345\nleftover text that is longer\n")
        let lock = try InstanceLock(directory: directory.path, program: "x")
        let text = try #require(try SmallFile.read(directory.path + "/lock", atMost: 100))
        #expect(String(decoding: text, as: UTF8.self) == "\(getpid())\n")
        withExtendedLifetime(lock) {}
    }

    @Test func refusesALinkAndAMissingDirectory() throws {
        let directory = try TemporaryDirectory()
        let target = try directory.file("target", "precious")
        #expect(symlink(target, directory.path + "/lock") == 0)
        expectFailure(.conflict) { _ = try InstanceLock(directory: directory.path, program: "x") }
        #expect(try SmallFile.read(target, atMost: 100).map { String(decoding: $0, as: UTF8.self) } == "precious")
        expectFailure(.notFound) { _ = try InstanceLock(directory: directory.path + "/none", program: "x") }
    }
}
