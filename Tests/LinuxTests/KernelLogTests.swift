import FastableCore
import Glibc
import NodeLinux
import TestSupport
import Testing

/// Whom the kernel has ended for lack of memory. Names are those of strangers.
@Suite struct KernelLogTests {
    private static func victim(_ record: String) -> KernelLog.Victim? {
        Array(record.utf8).withUnsafeBytes { KernelLog.victim($0) }
    }

    private static func record(_ name: String, user: String = "1000065536", prefix: String = "3,107,345,-") -> String {
        "\(prefix);Memory cgroup out of memory: Killed process 25902 (\(name)) total-vm:1493216kB, anon-rss:1045776kB, "
            + "file-rss:1016kB, shmem-rss:0kB, UID:\(user) pgtables:2100kB oom_score_adj:500\n"
    }

    @Test func itNamesTheProcessAndItsUser() {
        let expected = KernelLog.Victim(user: 1_000_065_536, name: "node", isOfGroup: true)
        #expect(Self.victim(Self.record("node")) == expected)
        let host = Self.record("node").replacing("Memory cgroup out", with: "Out")
        #expect(Self.victim(host)?.isOfGroup == false)
    }

    @Test(arguments: [
        ("a) total-vm:1kB", "a) total-vm:1kB"), (", UID:0 pgtab", ", UID:0 pgtab"), (") (", ") ("), ("", ""),
        ("a b", "a b"), (#"\x1b[31m"#, #"\x1b[31m"#), ("ü\u{1}é", ""), ("Killed process ", "Killed process "),
    ])
    func aNameCannotSayWhatItIsNot(name: String, told: String) {
        let victim = Self.victim(Self.record(name))
        #expect(victim?.user == 1_000_065_536)
        #expect(victim?.name == told)
    }

    @Test(arguments: [
        "", ";", "3,1,1,-;", "3,1,1,-;Memory cgroup out of memory: Killed process", "Memory cgroup out of memory",
        record("x", user: ""), record("x", user: "99999999999"), record("x", user: "-1"),
        // A program of the host wrote it.
        record("x", prefix: "11,107,345,-"), record("x", prefix: "x,107,345,-"),
        record(String(repeating: "x", count: 2000)),
        "6,10826,346,-;oom-kill:constraint=CONSTRAINT_MEMCG,task=tail,pid=27688,uid=1000000000\n",
    ])
    func otherRecordsAreNone(record: String) { #expect(Self.victim(record) == nil) }

    @Test func longNamesAreCut() {
        #expect(Self.victim(Self.record(String(repeating: "x", count: 500)))?.name.count == 60)
    }

    @Test func victimsAreToldOnceAndToTheirOwnersOnly() throws {
        // A file stands for the log: one read gives one record there, so there is one.
        let directory = try TemporaryDirectory()
        let path = directory.path + "/kmsg"
        try AtomicFile.write(path, [])
        let log = KernelLog(path: path)
        #expect(log.isReadable)
        let file = try FileDescriptor(opening: path, O_WRONLY | O_APPEND)
        try file.writeAll(Array(Self.record("node").utf8))
        log.read()
        #expect(log.take(0..<1_000_065_536).isEmpty)
        #expect(log.take(1_000_065_536..<1_000_131_072).map(\.name) == ["node"])
        #expect(log.take(1_000_065_536..<1_000_131_072).isEmpty)
        #expect(!KernelLog(path: directory.path + "/none").isReadable)
    }
}
