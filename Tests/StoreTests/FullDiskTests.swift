import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A small file system of our own that can be filled and made read-only.
struct SmallDisk {
    let path: String

    static let size = 4 * 1024 * 1024

    /// Whether this process may mount.
    static let isPossible: Bool = {
        let path = "\(FileManager.default.temporaryDirectory.path)/fastable-probe-\(ExecID())"
        guard mkdir(path, 0o700) == 0 else { return false }
        defer { rmdir(path) }
        guard mount("tmpfs", path, "tmpfs", 0, "size=64k") == 0 else { return false }
        return umount2(path, Int32(MNT_DETACH)) == 0
    }()

    static func with(_ body: (SmallDisk) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/disk"
            #expect(mkdir(path, 0o700) == 0)
            try #require(mount("tmpfs", path, "tmpfs", 0, "size=\(size)") == 0)
            defer { umount2(path, Int32(MNT_DETACH)) }
            try await body(SmallDisk(path: path))
        }
    }

    /// Takes all the space that is left.
    func fill() throws {
        let file = open(path + "/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        try #require(file >= 0)
        defer { close(file) }
        let block = [UInt8](repeating: 0, count: 4096)
        while write(file, block, block.count) > 0 {}
    }

    func empty() { unlink(path + "/filler") }

    func makeReadOnly() throws {
        try #require(mount(nil, path, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
    }
}

@Suite(.enabled(if: SmallDisk.isPossible, "needs the right to mount"))
struct FullDiskTests {
    @Test func aFullDiskIsReportedAndNothingIsHalfWritten() async throws {
        try await SmallDisk.with { disk in
            let store = try SQLiteStore(path: disk.path + "/controller.db")
            defer { try? store.close() }
            let workspace = try await store.bootstrap(now: moment).id
            var event = AuditEvent(
                timeMilliseconds: 1, workspace: workspace, actor: nil, door: .system, request: RequestID(),
                operation: "test", phase: .intent)
            event.detail = ["filler": .string(String(repeating: "x", count: 60_000))]
            try await store.appendAudit(event)
            try disk.fill()
            var written: Int64 = 1
            let error = await expectFailure(.unavailable) {
                for _ in 0..<200 {
                    try await store.appendAudit(event)
                    written += 1
                }
            }
            #expect(error?.message.contains("disk is full") == true, "\(String(describing: error))")
            #expect(try await store.verifyAudit(expecting: nil).checked == written)
            disk.empty()
            #expect(try await store.appendAudit(event).sequence == written + 1)
            #expect(try await store.verifyAudit(expecting: nil).checked == written + 1)
        }
    }

    @Test func aFullDiskAtTheStartIsReported() async throws {
        try await SmallDisk.with { disk in
            try disk.fill()
            let error = expectFailure(.unavailable) {
                try SQLiteStore(path: disk.path + "/controller.db").close()
            }
            #expect(error?.message.contains("full") == true)
        }
    }

    @Test func aReadOnlyDiskIsReported() async throws {
        try await SmallDisk.with { disk in
            try SQLiteStore(path: disk.path + "/controller.db").close()
            try disk.makeReadOnly()
            let error = expectFailure(.unavailable) {
                try SQLiteStore(path: disk.path + "/controller.db").close()
            }
            #expect(error?.message.contains("read-only") == true)
        }
    }
}
