import ControllerDomain
import FastableCore
import Testing

@Suite struct AuditEventTests {
    private let event = AuditEvent(
        timeMilliseconds: 1_800_000_000_000, workspace: WorkspaceID(),
        actor: AuditEvent.Actor(token: TokenID(), name: "ci"), door: .rest, request: RequestID(),
        operation: "shell.exec", project: ProjectID(), subject: "/workspace", phase: .intent)

    /// A change of any field changes the bytes, and no two changes give the same.
    @Test func everyFieldIsProtected() {
        let changes: [@Sendable (inout AuditEvent) -> Void] = [
            { $0.timeMilliseconds += 1 }, { $0.workspace = WorkspaceID() }, { $0.actor?.token = TokenID() },
            { $0.actor?.name = "cj" }, { $0.actor = nil }, { $0.door = .mcp }, { $0.request = RequestID() },
            { $0.operation = "fs.read" }, { $0.project = nil }, { $0.project = ProjectID() }, { $0.subject = "" },
            { $0.phase = .outcome }, { $0.code = .invalid }, { $0.code = .internal },
        ]
        var seen: Set<[UInt8]> = [event.canonicalBytes(detailText: "{}"), event.canonicalBytes(detailText: "{ }")]
        for change in changes {
            var changed = event
            change(&changed)
            seen.insert(changed.canonicalBytes(detailText: "{}"))
        }
        #expect(seen.count == changes.count + 2)
        #expect(event.canonicalBytes(detailText: "{}") == event.canonicalBytes(detailText: "{}"))
    }

    /// Text cannot wander from one field into the next.
    @Test func fieldsCannotFlowIntoEachOther() {
        var left = event
        var right = event
        (left.operation, left.subject) = ("ab", "c")
        (right.operation, right.subject) = ("a", "bc")
        #expect(left.canonicalBytes(detailText: "{}") != right.canonicalBytes(detailText: "{}"))
        (left.project, left.subject) = (nil, event.project?.description ?? "")
        (right.project, right.subject) = (event.project, "")
        #expect(left.canonicalBytes(detailText: "{}") != right.canonicalBytes(detailText: "{}"))
    }
}
