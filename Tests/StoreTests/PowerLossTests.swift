import ControllerDomain
import ControllerStore
import FastableCore
import Foundation
import TestSupport
import Testing

@Suite(.needsRoot, .endsInTime) struct PowerLossTests {
    @Test func whatReturnedIsOnTheDisk() async throws {
        try await CutDisk.with { disk in
            try await withStore(in: disk.path) { fixture in
                let project = try await fixture.add("shop")
                try await disk.afterLoss { later in
                    let found = try await later.project(.id(project.id), in: fixture.workspace)
                    #expect(found.name == "shop")
                }
                // Writes that do not wait for the disk come between.
                try await fixture.store.appendAudit([fixture.event()])
                _ = try await fixture.store.markProjectDeleting(project.id, in: fixture.workspace, at: moment)
                try await disk.afterLoss { later in
                    let deleting = try await later.deletingProjects(on: nil, after: nil, limit: 10)
                    #expect(deleting.map(\.id) == [project.id])
                    let (head, written) = (try await later.auditHead(), try await fixture.store.auditHead())
                    #expect(head == written)
                }
            }
        }
    }

    @Test func whatCameWithACommandIsThereAMomentLater() async throws {
        try await CutDisk.with { disk in
            try await withStore(in: disk.path) { fixture in
                let project = try await fixture.add("shop")
                let exec = ExecHandle(
                    id: ExecID(), workspace: fixture.workspace, project: project.id, node: fixture.node,
                    startedAt: moment)
                try await fixture.store.recordExec(exec)
                // How long a moment is depends on the machine; the kernel writes nothing of its own accord meanwhile.
                try await eventually("it is on the disk") {
                    var found: ExecHandle?
                    try await disk.afterLoss { (later: any Store) in
                        found = try? await later.exec(exec.id, in: fixture.workspace)
                    }
                    return found == exec
                }
            }
        }
    }
}

extension CutDisk {
    /// The store as it would be opened after a loss of power now.
    fileprivate func afterLoss(_ body: (any Store) async throws -> Void) async throws {
        try await afterLoss { (path: String) in
            let store = try Driver.sqlite.open(in: path)
            defer { try? store.close() }
            try await body(store)
        }
    }
}
