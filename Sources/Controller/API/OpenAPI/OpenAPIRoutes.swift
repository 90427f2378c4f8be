import ControllerServices
import FastableCore

/// The paths that are not operations.
enum OpenAPIRoutes {
    static var paths: [String: JSONValue] {
        [
            "/api/tools": ["get": get("tools_list", "The operations with their schemas.", answer: .object)],
            FileRoutes.file: file, FileRoutes.tree: tree, WatchRoute.watch: watch, EventRoute.events: events,
            ExecRoutes.status: [
                "parameters": [parameter("exec", "The id of the command.")],
                "get": get("exec_status", "Whether a command runs, and how it ended.", answer: .object, tag: "bytes"),
            ],
            ExecRoutes.output: OpenAPIExecs.output, ExecRoutes.attach: OpenAPIExecs.attach,
            AdminRoutes.disable: ["post": admin("path_b_disable", "admin_disable", [])],
            AdminRoutes.enable: ["post": admin("path_b_enable", "admin_enable", [])],
            AdminRoutes.idleSweep: [
                "post": admin(
                    "path_b_idle_sweep", "admin_idle_sweep",
                    [query("minutes", "How long nobody has used them.", type: "integer")])
            ],
            "/api/mcp": ["post": mcp],
            "/api/nodes/enroll": ["post": enroll],
            "/health": ["get": open(get("health", "The process answers.", answer: .object, tag: "system"))],
            "/ready": [
                "get": open(get("ready", "Whether the controller can do its work.", answer: .object, tag: "system"))
            ],
            "/metrics": [
                "get": get("metrics", "Prometheus text. Needs the scope admin.", answer: .text, tag: "system")
            ],
            "/openapi.json": ["get": open(get("openapi", "This document.", answer: .object, tag: "system"))],
        ]
    }

    enum Answer { case object, bytes, text }

    private static var file: JSONValue {
        var read = get("file_read", "The bytes of a file, or one range of them.", answer: .bytes, tag: "bytes")
        read = read.with(
            "parameters",
            [query("path", "Relative to /workspace.", required: true), header("Range"), header("If-Range")])
        read = read.with("responses", read["responses"]?.with("206", .described("A range.")) ?? .null)
        read = read.with("responses", read["responses"]?.with("304", .described("Unchanged.")) ?? .null)
        read = read.with(
            "responses", read["responses"]?.with("416", ["$ref": "#/components/responses/Problem"]) ?? .null)
        let executable = query("executable", "Sets the execute bits.", type: "boolean")
        return [
            "parameters": [project], "get": read,
            "put": put(
                "file_write",
                "Writes a whole file, atomically, from its own bytes: no `Content-Range` (400), no `Content-Encoding` (415). `If-Match` takes the "
                    + "ETag or sha256 that it must have now. "
                    + noKey,
                [
                    query("path", "Relative to /workspace.", required: true), executable, header("If-Match"),
                    header("If-None-Match"),
                ],
                type: "application/octet-stream"
            ),
        ]
    }

    private static var tree: JSONValue {
        let path = query("path", "A directory; /workspace when it is missing.")
        let archives: JSONValue = .object([TreeForm.tar: ["schema": .bytes], TreeForm.zstd: ["schema": .bytes]])
        var read = get(
            "tree_read",
            "A directory as a tar archive. `Accept: application/zstd` asks for a compressed one (`tree.tar.zst`); with "
                + "`Accept-Encoding: zstd` a tar archive comes in that content coding, which clients take off by themselves.",
            answer: .bytes, tag: "bytes", type: TreeForm.tar
        )
        .with("parameters", [path, header("Accept-Encoding")])
        let answer: JSONValue = [
            "description": "The archive.", "content": archives,
            "headers": ["Content-Encoding": ["schema": ["type": "string", "enum": ["zstd"]]]],
        ]
        read = read.with("responses", read["responses"]?.with("200", answer) ?? .null)
        let write = put(
            "tree_write",
            "Unpacks a tar archive below a directory. A compressed one says so with `Content-Type: application/zstd` or "
                + "`Content-Encoding: zstd`; its window is at most \(1 << (Limits.zstdWindowLog - 20)) MiB (levels up to 19, no `--long`). "
                + "With `If-None-Match: *` the tree appears once all of it has come, and only where nothing is. "
                + noKey,
            [
                path, query("replace", "Replaces what is there, once the whole tree has arrived.", type: "boolean"),
                header("Content-Encoding"), header("If-None-Match"),
            ],
            type: TreeForm.tar
        )
        .with("requestBody", ["required": true, "content": archives])
        return ["parameters": [project], "get": read, "put": write]
    }

    private static var watch: JSONValue {
        let get = get(
            "file_watch",
            "What changes below a directory, as events: `ready`, then `created`, `modified`, `deleted`, `moved`, and `rescan` when "
                + "changes were lost. With `Last-Event-ID` a `rescan` comes first.",
            answer: .text, tag: "bytes", type: "text/event-stream")
        return [
            "parameters": [project],
            "get": get.with(
                "parameters", [query("path", "A directory; /workspace when it is missing."), header("Last-Event-ID")]),
        ]
    }

    private static var events: JSONValue {
        let get = get(
            "events_follow",
            "What happens in the workspace, as events whose ids are their places; `lost` comes first when some behind the place "
                + "are no longer kept. A stream ends after an hour at most: come again with `Last-Event-ID`.",
            answer: .text, type: "text/event-stream")
        return [
            "get": get.with(
                "parameters",
                [
                    query("project", "Only this project: its name or its id."),
                    query("kinds", "Only these kinds, separated by commas."),
                    query("after", "The id of the last event that was seen; from now on when it is missing."),
                    query("follow", "`false` ends with what there is, and begins with the oldest.", type: "boolean"),
                    header("Last-Event-ID"),
                ])
        ]
    }

    private static var mcp: JSONValue {
        [
            "operationId": "mcp", "tags": ["operations"],
            "summary": "The Model Context Protocol, revisions 2026-07-28 and 2025-11-25.",
            "description": .string(
                "`params._meta[\"\(MCPReader.idempotencyKey)\"]` of a `tools/call` is what the header `Idempotency-Key` is for the "
                    + "other paths."),
            "requestBody": ["required": true, "content": ["application/json": ["schema": ["type": "object"]]]],
            "responses": .object(
                OpenAPI.problems.merging([
                    "200": [
                        "description": "A JSON-RPC response, or a stream of events that ends with it.",
                        "content": [
                            "application/json": ["schema": ["type": "object"]],
                            "text/event-stream": ["schema": ["type": "string"]],
                        ],
                    ],
                    "202": .described("A notification was taken."),
                ]) { _, new in new }),
        ]
    }

    private static func admin(_ id: String, _ operation: String, _ parameters: [JSONValue]) -> JSONValue {
        get(id, "The operation ‘\(operation)’ under a path of its own. Needs the scope admin.", answer: .object)
            .with("parameters", .array(parameters))
    }

    private static var enroll: JSONValue {
        open([
            "operationId": "nodes_enroll", "tags": ["system"],
            "summary": "Lets a node join with its join token, and gives it a certificate.",
            "requestBody": ["required": true, "content": ["application/json": ["schema": ["type": "object"]]]],
            "responses": responses(.object, type: nil),
        ])
    }

    // MARK: parts

    private static let noKey = "`\(IdempotencyKey.header)` is refused (400): the same bytes again leave the same files."
    private static let project = parameter("project", "The project: its name or its id.")

    static func get(
        _ id: String, _ summary: String, answer: Answer, tag: String = "operations", type: String? = nil
    ) -> JSONValue {
        [
            "operationId": .string(id), "tags": [.string(tag)], "summary": .string(summary),
            "responses": responses(answer, type: type),
        ]
    }

    private static func put(_ id: String, _ summary: String, _ parameters: [JSONValue], type: String) -> JSONValue {
        [
            "operationId": .string(id), "tags": ["bytes"], "summary": .string(summary),
            "parameters": .array(parameters),
            "requestBody": ["required": true, "content": .object([type: ["schema": .bytes]])],
            "responses": responses(.object, type: nil).with("201", .described("It was created.")),
        ]
    }

    private static func responses(_ answer: Answer, type: String?) -> JSONValue {
        let content: JSONValue =
            switch answer {
            case .object: ["application/json": ["schema": ["type": "object"]]]
            case .bytes: .object([type ?? "application/octet-stream": ["schema": .bytes]])
            case .text: .object([type ?? "text/plain": ["schema": ["type": "string"]]])
            }
        return JSONValue.object(OpenAPI.problems).with("200", ["description": "The answer.", "content": content])
    }

    /// Needs no token.
    private static func open(_ operation: JSONValue) -> JSONValue { operation.with("security", []) }

    static func parameter(_ name: String, _ description: String) -> JSONValue {
        [
            "name": .string(name), "in": "path", "required": true, "description": .string(description),
            "schema": ["type": "string"],
        ]
    }

    static func query(
        _ name: String, _ description: String, type: String = "string", required: Bool = false
    ) -> JSONValue {
        [
            "name": .string(name), "in": "query", "required": .bool(required), "description": .string(description),
            "schema": ["type": .string(type)],
        ]
    }

    static func header(_ name: String) -> JSONValue {
        ["name": .string(name), "in": "header", "required": false, "schema": ["type": "string"]]
    }
}

extension JSONValue {
    static func described(_ text: String) -> JSONValue { ["description": .string(text)] }

    func with(_ key: String, _ value: JSONValue) -> JSONValue {
        var members = object ?? [:]
        members[key] = value
        return .object(members)
    }
}
