import FastableCore
import Glibc
import NodeSandbox
import TestSupport
import Testing

@Suite(.needsRoot, .endsInTime) struct TrashTests {
    /// What was deleted is not there again when the host has lost its power.
    @Test func whatWasDiscardedStaysAway() async throws {
        try await CutDisk.with { disk in
            let project = disk.path + "/projects/prj_x"
            for directory in [disk.path + "/projects", project] { try #require(mkdir(directory, 0o755) == 0) }
            try AtomicFile.write(project + "/file", Array("text".utf8), mode: 0o644)
            try await disk.afterLoss { path in #expect(access(path + "/projects/prj_x/file", F_OK) == 0) }
            _ = try Trash(disk.path + "/trash").discard(project)
            try await disk.afterLoss { path in
                #expect(Leftovers.names(path + "/projects") == [])
                #expect(Leftovers.names(path + "/trash").count == 1)
            }
        }
    }
}
