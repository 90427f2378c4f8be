import ControllerServices
import FastableCore
import NIOCore

/// The operations as MCP tools.
enum MCPTools {
    static let instructions = """
        Each project is one persistent Linux container with the project's files in /workspace. Tools that take ‘project’ accept its \
        name or id; the container is made on first use. Read and change files with fs.read, fs.edit and fs.write, search with fs.grep \
        and fs.glob, and run everything else with shell.exec. Paths are relative to /workspace. fs.edit replaces exact text: read \
        the file first. Output that was cut says so: ‘omitted’ tells what is missing, and shell.output gives it. A call that must not \
        be carried out twice gets a key of your own in ‘_meta’ (‘fastable.dev/idempotencyKey’): a retry with it gets the first answer.
        """

    /// The JSON text of the list. Its order is the catalogue's, by name, so that it is the same every time.
    static func list(_ operations: [Operation]) throws -> ByteBuffer {
        let tools = operations.filter(\.visibleToAgents).map(tool)
        return ByteBuffer(bytes: try JSON.encode(tools))
    }

    private static func tool(_ operation: Operation) -> JSONValue {
        var annotations = operation.annotations.json.object ?? [:]
        annotations["title"] = .string(operation.title)
        return [
            "name": .string(operation.name), "title": .string(operation.title),
            "description": .string(operation.summary), "inputSchema": operation.inputSchema.json,
            "outputSchema": operation.outputSchema.json, "annotations": .object(annotations),
        ]
    }
}
