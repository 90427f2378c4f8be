import ControllerDomain
import ControllerServices
import FastableCore
import HTTPTypes
import NIOCore

/// The OpenAPI 3.1 document: one path for each operation of the catalogue, and the routes for bytes and for the system.
enum OpenAPI {
    static func document(_ operations: [Operation], programVersion: String) throws -> ByteBuffer {
        var paths: [String: JSONValue] = OpenAPIRoutes.paths
        for operation in operations { paths["/api/tools/\(operation.name)"] = ["post": path(operation)] }
        let document: JSONValue = [
            "openapi": "3.1.0",
            "info": [
                "title": "Fastable", "version": .string(programVersion),
                "description": .string(description),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": "/"]],
            "security": [["bearer": []]],
            "tags": .array(
                [
                    ("operations", "Everything that can be asked for, one path for each operation."),
                    ("bytes", "Files, trees and command output as raw bytes."),
                    ("system", "Health, metrics, joining nodes."),
                ].map { ["name": .string($0.0), "description": .string($0.1)] }),
            "paths": .object(paths),
            "components": [
                "securitySchemes": ["bearer": ["type": "http", "scheme": "bearer", "description": .string(token)]],
                "schemas": ["Problem": problem],
                "responses": ["Problem": problemResponse],
                "headers": ["RequestId": ["schema": ["type": "string"], "description": .string(requestID)]],
            ],
        ]
        return ByteBuffer(bytes: try JSON.encode(document))
    }

    private static func path(_ operation: Operation) -> JSONValue {
        var responses = problems
        responses["200"] = [
            "description": .string(
                "The answer. As events: `started`, `output`, `progress`, `found` (a path or a match of a search, which the "
                    + "result then leaves out), and at last `result` or `error`."),
            "headers": ["X-Request-Id": ["$ref": "#/components/headers/RequestId"]],
            "content": [
                "application/json": ["schema": operation.outputSchema.json],
                "text/event-stream": ["schema": ["type": "string"]],
                ToolFrameWriter.mediaType: ["schema": .bytes],
            ],
        ]
        let parameters: [JSONValue] = operation.annotations.isReadOnly ? [] : [idempotencyKey, idempotencySeconds]
        return [
            "operationId": .string(identifier(operation.name)), "tags": ["operations"],
            "summary": .string(operation.title), "description": .string(operation.summary),
            "parameters": .array(parameters),
            "x-fastable-scope": .string(operation.scope.rawValue),
            "x-fastable-annotations": operation.annotations.json,
            "requestBody": [
                "required": true, "content": ["application/json": ["schema": operation.inputSchema.json]],
            ],
            "responses": .object(responses),
        ]
    }

    /// Code generators make function names of these.
    static func identifier(_ name: String) -> String { name.replacing(".", with: "_") }

    /// The error answers of every path: one form, told apart by `code`.
    static var problems: [String: JSONValue] {
        let statuses = Set(FastableError.Code.allCases.map(\.status.code)).filter { $0 != 499 }
        var responses: [String: JSONValue] = [:]
        for status in statuses { responses["\(status)"] = ["$ref": "#/components/responses/Problem"] }
        return responses
    }

    private static var problemResponse: JSONValue {
        [
            "description": "What went wrong, and what to do next (RFC 9457).",
            "headers": [
                "X-Request-Id": ["$ref": "#/components/headers/RequestId"],
                "Retry-After": [
                    "schema": ["type": "integer"], "description": "Seconds after which a retry makes sense.",
                ],
            ],
            "content": [ErrorResponse.mediaType: ["schema": ["$ref": "#/components/schemas/Problem"]]],
        ]
    }

    private static var problem: JSONValue {
        let codes = FastableError.Code.allCases.map { JSONValue.string($0.rawValue) }
        return [
            "type": "object",
            "required": ["type", "title", "status", "detail", "code", "requestId"],
            "properties": [
                "type": ["type": "string", "format": "uri"], "title": ["type": "string"],
                "status": ["type": "integer"],
                "detail": ["type": "string", "description": "For people: what happened and what to do next."],
                "code": ["type": "string", "enum": .array(codes)],
                "requestId": ["type": "string"],
                "details": ["type": "object", "description": "Facts for programs: `field`, `limit`, `sha256`, …"],
                "retryAfterSeconds": ["type": "integer"],
            ],
        ]
    }

    private static let description = """
        Persistent Linux dev containers for agents and people. Every operation is `POST /api/tools/{operation}` with JSON in and \
        out. With `Accept: text/event-stream` output comes while it is printed; with \
        `Accept: application/vnd.fastable.frames` it comes byte for byte in frames. Errors are problem+json.
        """
    private static let idempotencyKey: JSONValue = [
        "name": .string(IdempotencyKey.header), "in": "header", "required": false,
        "schema": ["type": "string", "minLength": 1, "maxLength": .integer(Int64(Limits.onceKeyBytes))],
        "description": .string(
            "Does the change once: the same key with the same input gives the stored answer for \(Limits.onceSeconds / 3600) hours, and "
                + "waits for it while the first request runs. With another input it is a conflict."),
    ]
    private static let idempotencySeconds: JSONValue = [
        "name": .string(IdempotencyKey.secondsHeader), "in": "header", "required": false,
        "schema": ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Limits.onceSeconds))],
        "description": "For so long the key is remembered, if it need not be the usual time: ask again within it.",
    ]
    private static let token = "A token that begins with `fst_`; `fastable token create` makes one."
    private static let requestID = "Names the request in all logs. An id of this form that the client sends is kept."
}

extension JSONValue {
    /// Raw bytes have no schema beyond that (OpenAPI 3.1, section 4.8.14).
    static var bytes: JSONValue { ["type": "string", "format": "binary"] }
}
