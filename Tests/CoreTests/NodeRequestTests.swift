import FastableCore
import Foundation
import Testing

@Suite struct NodeRequestTests {
    private static let spec = ContainerSpec(
        project: ProjectID(), workspace: WorkspaceID(), image: "base", environment: ["NAME": "a \"quoted\"\nline"],
        stay: 3, revision: 7)

    @Test func anOpeningIsALineAndJSON() throws {
        let id = RequestID()
        let request = NodeRequest(
            method: .projectDelete, requestID: id, arguments: ProjectReference(project: Self.spec.project))
        let opening = try request.opening()
        #expect(
            String(decoding: opening, as: UTF8.self)
                == "project.delete \(id)\n{\"project\":\"\(Self.spec.project)\"}")
        let read = try NodeRequest<ProjectReference>(opening: opening)
        #expect(read.head.method == .projectDelete && read.head.requestID == id)
        #expect(read.arguments.project == Self.spec.project)
        // Buffers of the network need not begin at their first byte.
        let slice = (Data("before".utf8) + opening).dropFirst(6)
        #expect(try NodeRequest<ProjectReference>(opening: slice).arguments.project == Self.spec.project)
    }

    @Test(arguments: [
        "", "\n", "exec.start", "exec.start\n{}", "exec.start  \n{}", "exec.begin \(RequestID())\n{}",
        " exec.start \(RequestID())\n{}", "exec.start \(RequestID()) \n{}", "exec.start req_1\n{}",
        "{\"method\":\"exec.start\"}",
    ])
    func anythingElseIsRefused(text: String) {
        #expect(throws: FastableError.self) { try NodeRequestHead(opening: Data(text.utf8)) }
    }

    @Test func theFieldThatIsWrongIsNamed() throws {
        let opening = Data("project.delete \(RequestID())\n{\"project\":3}".utf8)
        let error = #expect(throws: FastableError.self) { try NodeRequest<ProjectReference>(opening: opening) }
        #expect(error?.details["field"] == "project")
    }

    @Test func aSpecThatChangesIsNeverTakenForTheOneBefore() throws {
        var spec = Self.spec
        for revision in 1...5 {
            spec.revision = revision
            for _ in 1...2 {
                let start = ExecStart(exec: ExecID(), container: spec, command: ExecCommand(arguments: ["true"]))
                let read: ExecStart = try JSON.decode(from: try JSON.encode(start))
                #expect(read.container == spec)
                #expect(read.exec == start.exec)
            }
        }
    }

    @Test func moreSpecsThanAreKeptAreReadRight() throws {
        let specs = (0...Limits.specTextsKept).map { number in
            ContainerSpec(project: ProjectID(), workspace: WorkspaceID(), image: "base", stay: number)
        }
        for spec in specs + specs.reversed() {
            let start = ExecStart(exec: ExecID(), container: spec, command: ExecCommand(arguments: ["true"]))
            #expect(try JSON.decode(ExecStart.self, from: try JSON.encode(start)).container == spec)
        }
    }
}
