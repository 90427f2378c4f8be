import ControllerDomain
import ControllerFleet
import ControllerServices
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import TestSupport
import Testing

/// Prints how long calls take. Not a check: run it with `FASTABLE_MEASURE=1` on a machine that does nothing else.
@Suite(.serialized, .measuresOnDemand)
struct MeasureTests {
    @Test func operations() async throws {
        try await World.with { world, nodes in
            let project = try await world.project()
            nodes[0].reply(.fsRead) { (call: FileCall<FileRead>) in
                FileReadResult(path: call.arguments.path, kind: .file, content: String(repeating: "a", count: 4096))
            }
            nodes[0].onExec { _, exec in
                try await exec.started()
                try await exec.finish()
            }
            let context = world.context()
            let catalog = world.services.catalog
            let exec = Data(#"{"project":"shop","cmd":"true"}"#.utf8)
            let read = Data(#"{"project":"shop","path":"a"}"#.utf8)
            _ = try await catalog.run("fs.read", input: read, context: context)
            try await measure("shell.exec, with a simulated node") {
                _ = try await catalog.run("shell.exec", input: exec, context: context)
            }
            try await measure("fs.read of 4 KiB, with a simulated node") {
                _ = try await catalog.run("fs.read", input: read, context: context)
            }
            let start = ExecStart(
                exec: ExecID(),
                container: ContainerSpec(project: project, workspace: world.workspace, image: "vibn-dev"),
                command: ExecCommand(arguments: ["/bin/bash", "-c", "true"]))
            let client = try world.directory.client(for: nodes[0].id)
            try await measure("the link and the simulated node alone") {
                let stream = try await client.open(.execStart, start, request: RequestID())
                while let event = try await stream.next() {
                    guard case .message(let payload) = event else { continue }
                    _ = try JSON.decode(ExecEvent.self, from: Data(payload.readableBytesView))
                }
            }
            try await measure("projects_get, unknown project") {
                _ = try? await catalog.run("projects_get", input: Data(#"{"project":"none"}"#.utf8), context: context)
            }
        }
    }
}
