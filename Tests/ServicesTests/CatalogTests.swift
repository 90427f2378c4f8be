import ControllerDomain
import ControllerServices
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

/// Rules that hold for every operation, those of tomorrow included.
@Suite(.endsInTime) struct CatalogTests {
    private static let names: Set = [
        "projects_create", "projects_list", "projects_get", "projects_delete", "projects_snapshot",
        "projects_snapshots",
        "projects_snapshot_delete", "projects_restore", "projects_checkpoint", "projects_checkpoints",
        "projects_checkpoint_delete", "projects_rollback", "projects_fork", "devcontainer.ensure",
        "devcontainer.status", "devcontainer.suspend", "devcontainer.resume", "devcontainer.stop",
        "devcontainer.restart", "devcontainer.archive", "devcontainer.delete", "devcontainer.explain",
        "devcontainer.keep_awake",
        "devcontainer.limits",
        "projects_set_image", "projects_set_lifecycle", "projects_usage",
        "workspace_set_lifecycle", "workspace_set_disk", "workspace_set_quota",
        "shell.exec", "shell.list", "shell.wait", "shell.output", "shell.kill", "fs.read", "fs.write", "fs.edit",
        "fs.list", "fs.glob", "fs.grep", "fs.delete", "fs.stat", "fs.mkdir", "fs.move", "fs.copy", "fs.chmod",
        "dev_server.start", "dev_server.stop", "dev_server.list", "dev_server.logs", "nodes_list",
        "nodes_get", "nodes_cordon", "nodes_uncordon", "nodes_drain", "nodes_remove", "nodes_join_token", "images_list",
        "images_add",
        "images_remove", "tokens_create", "tokens_list", "tokens_revoke", "audit_list", "audit_verify", "status",
        "events_list", "webhooks_create", "webhooks_list", "webhooks_test", "webhooks_resume", "webhooks_delete",
        "kill.exec", "kill.project", "kill.workspace", "kill.list", "kill.lift", "admin_kill_node", "admin_kill_all",
        "admin_disable", "admin_enable", "admin_idle_sweep",
    ]

    @Test func theCatalogHasTheVocabularyOfTheProduct() async throws {
        try await World.with(nodes: 0) { world, _ in
            let operations = world.services.catalog.operations
            #expect(Set(operations.map(\.name)) == Self.names)
            #expect(operations.map(\.name) == operations.map(\.name).sorted())
            #expect(operations.count == Self.names.count, "two operations have the same name")
        }
    }

    @Test func everyOperationIsExplainedAndConsistent() async throws {
        try await World.with(nodes: 0) { world, _ in
            for operation in world.services.catalog.operations {
                let name = operation.name
                #expect(name.wholeMatch(of: /[a-z]+([._][a-z]+)*/) != nil, "\(name)")
                #expect(name.utf8.count <= 64, "\(name)")
                #expect((4...60).contains(operation.title.count), "\(name)")
                #expect(operation.summary.count >= 20 && operation.summary.hasSuffix("."), "\(name)")
                let annotations = operation.annotations
                #expect(!(annotations.isReadOnly && annotations.isDestructive), "\(name)")
                let isOperators =
                    ["nodes_", "images_", "tokens_", "audit_", "webhooks_", "workspace_", "admin_"].contains {
                        name.hasPrefix($0)
                    }
                    || name == "status"
                #expect((operation.scope == .admin) == isOperators, "\(name)")
                #expect(!(isOperators && operation.visibleToAgents), "\(name)")
                if operation.scope == .filesRead || operation.scope == .projectsRead {
                    #expect(annotations.isReadOnly, "\(name)")
                }
                if operation.scope == .filesWrite || operation.scope == .projectsWrite {
                    #expect(!annotations.isReadOnly, "\(name)")
                }
            }
        }
    }

    @Test func everySchemaIsClosedDescribedAndValid() async throws {
        try await World.with(nodes: 0) { world, _ in
            for operation in world.services.catalog.operations {
                let input = operation.inputSchema.json
                #expect(input["type"] == "object", "\(operation.name)")
                #expect(input["additionalProperties"] == false, "\(operation.name)")
                for (field, schema) in input["properties"]?.object ?? [:] {
                    #expect(schema["description"]?.string?.isEmpty == false, "\(operation.name).\(field)")
                    #expect(field.wholeMatch(of: /[a-z][A-Za-z]*/) != nil, "\(operation.name).\(field)")
                }
                #expect(operation.outputSchema.json["type"] == "object", "\(operation.name)")
                for schema in [operation.inputSchema, operation.outputSchema] {
                    Self.check(schema.json, operation.name)
                }
                #expect(
                    operation.actsOnProject == (input["required"]?.array?.contains("project") ?? false),
                    "\(operation.name)")
            }
        }
    }

    /// The rules of JSON Schema that our schemas could break: known types, required members that exist, bounds in order.
    private static func check(_ schema: JSONValue, _ name: String) {
        let types: Set = ["object", "array", "string", "integer", "number", "boolean", "null"]
        if let type = schema["type"]?.string { #expect(types.contains(type), "\(name)") }
        let properties = schema["properties"]?.object ?? [:]
        for required in schema["required"]?.array ?? [] {
            #expect(required.string.map { properties[$0] != nil } == true, "\(name) requires \(required)")
        }
        if let minimum = schema["minimum"]?.integer, let maximum = schema["maximum"]?.integer {
            #expect(minimum <= maximum, "\(name)")
            if let value = schema["default"]?.integer { #expect((minimum...maximum).contains(value), "\(name)") }
        }
        if let allowed = schema["enum"]?.array?.compactMap(\.string) {
            #expect(!allowed.isEmpty && Set(allowed).count == allowed.count, "\(name)")
            if let value = schema["default"]?.string { #expect(allowed.contains(value), "\(name)") }
        }
        for inner in Array(properties.values) + (schema["anyOf"]?.array ?? []) + [schema["items"]].compactMap(\.self) {
            check(inner, name)
        }
    }

    @Test func anUnknownOperationIsNamedWithTheNearest() async throws {
        try await World.with(nodes: 0) { world, _ in
            let error = await expectFailure(.notFound) { try await world.run("shell.exe") }
            #expect(error?.message.contains("‘shell.exe’") == true)
            #expect(error?.message.contains("‘shell.exec’") == true)
            let other = await expectFailure(.notFound) { try await world.run("list_projects\u{1b}[31m") }
            #expect(other?.message.contains("\u{1b}") == false)
        }
    }

    @Test func inputIsCheckedBeforeAnythingHappens() async throws {
        try await World.with { world, nodes in
            try await world.project()
            let broken: [(String, FastableError.Code)] = [
                ("", .invalid), ("{", .invalid), ("[]", .invalid), ("\"x\"", .invalid), (#"{"cmd":"true"}"#, .invalid),
                (#"{"project":"shop"}"#, .invalid), (#"{"project":"shop","cmd":1}"#, .invalid),
                (#"{"project":"shop","cmd":"true","timeout":3}"#, .invalid),
                (#"{"project":"shop","cmd":"true","timeoutSec":901}"#, .unprocessable),
                (#"{"project":"shop","cmd":"true","timeoutSec":0}"#, .unprocessable),
                (#"{"project":"shop","cmd":""}"#, .unprocessable), (#"{"project":"shop","cmd":[]}"#, .unprocessable),
                (#"{"project":"shop","cmd":[""]}"#, .unprocessable),
                (#"{"project":"shop","cmd":"a\u0000b"}"#, .unprocessable),
                (#"{"project":"shop","cmd":"true","env":{"1A":"x"}}"#, .unprocessable),
                (#"{"project":"shop","cmd":"true","env":{"A":"\u0000"}}"#, .unprocessable),
                (#"{"project":"shop","cmd":"true","cwd":"\u0000"}"#, .unprocessable),
                (#"{"project":"nothere","cmd":"true"}"#, .notFound),
            ]
            for (text, code) in broken {
                let error = await expectFailure(code) {
                    _ = try await world.services.catalog.run(
                        "shell.exec", input: Data(text.utf8), context: world.context())
                }
                #expect(error != nil, "\(text)")
            }
            #expect(nodes[0].methods.isEmpty, "nothing may reach the node")
        }
    }
}
