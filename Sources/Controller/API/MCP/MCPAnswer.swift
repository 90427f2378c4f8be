package import FastableCore
package import FoundationEssentials
package import NIOCore

/// Writes the JSON-RPC messages that the server sends.
package struct MCPAnswer: Sendable {
    static let errorKey = "dev.fastable/error"
    private let serverInfo: Data

    package init(programVersion: String) throws {
        let info: JSONValue = ["name": "fastable", "title": "Fastable", "version": .string(programVersion)]
        serverInfo = try JSON.encode(info)
    }

    // MARK: results

    /// A result whose members are given as JSON text without the braces around.
    package func result(_ request: MCPRequest, members: ByteBuffer, meta: ByteBuffer? = nil) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: members.readableBytes + 512)
        Self.writeHead(request.id, to: &buffer)
        buffer.writeStaticString(",\"result\":{")
        if request.revision.isModern {
            buffer.writeStaticString("\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":")
            buffer.writeBytes(serverInfo)
            if let meta {
                buffer.writeStaticString(",")
                buffer.writeImmutableBuffer(meta)
            }
            buffer.writeStaticString(members.readableBytes > 0 ? "}," : "}")
        } else if let meta {
            buffer.writeStaticString("\"_meta\":{")
            buffer.writeImmutableBuffer(meta)
            buffer.writeStaticString(members.readableBytes > 0 ? "}," : "}")
        }
        buffer.writeImmutableBuffer(members)
        buffer.writeStaticString("}}")
        return buffer
    }

    package func discovery(_ request: MCPRequest) throws -> ByteBuffer {
        try result(
            request,
            object: [
                "supportedVersions": MCPRevision.supported, "capabilities": ["tools": .object([:])],
                "instructions": .string(MCPTools.instructions), "ttlMs": 300_000, "cacheScope": "public",
            ])
    }

    package func initialization(_ request: MCPRequest) throws -> ByteBuffer {
        try result(
            request,
            object: [
                "protocolVersion": .string(request.revision.rawValue), "capabilities": ["tools": .object([:])],
                "serverInfo": try JSON.decode(JSONValue.self, from: serverInfo),
                "instructions": .string(MCPTools.instructions),
            ])
    }

    /// `tools` is the JSON text of the whole array.
    package func toolList(_ request: MCPRequest, tools: ByteBuffer) -> ByteBuffer {
        var members = ByteBuffer()
        members.writeStaticString("\"tools\":")
        members.writeImmutableBuffer(tools)
        // The list is the same for every token, but it was given to one that was checked.
        if request.revision.isModern { members.writeStaticString(",\"ttlMs\":300000,\"cacheScope\":\"private\"") }
        return result(request, members: members)
    }

    /// The answer of a tool that worked: its JSON as structure, and once more as text for clients that only know text.
    package func toolResult(_ request: MCPRequest, output: Data) -> ByteBuffer {
        var members = ByteBufferAllocator().buffer(capacity: output.count * 5 / 2 + 128)
        members.writeStaticString("\"content\":[{\"type\":\"text\",\"text\":")
        members.writeJSONString(output)
        members.writeStaticString("}],\"structuredContent\":")
        members.writeBytes(output)
        members.writeStaticString(",\"isError\":false")
        return result(request, members: members)
    }

    /// The answer of a tool that failed: text that a model can act on. The code and the details for programs are in `_meta`,
    /// since structured content would have to have the form of a success.
    package func toolFailure(_ request: MCPRequest, _ error: FastableError) -> ByteBuffer {
        var members = ByteBuffer()
        members.writeStaticString("\"content\":[{\"type\":\"text\",\"text\":")
        members.writeJSONString(Self.text(of: error))
        members.writeStaticString("}],\"isError\":true")
        var meta = ByteBuffer()
        meta.writeJSONString(Self.errorKey)
        meta.writeStaticString(":")
        meta.writeBytes((try? JSON.encode(error)) ?? Data("null".utf8))
        return result(request, members: members, meta: meta)
    }

    private static func text(of error: FastableError) -> String {
        var text = "\(error.code.rawValue): \(error.message)"
        if let seconds = error.retryAfterSeconds { text += " Try again in \(seconds) s." }
        if !error.details.isEmpty, let details = try? JSON.encode(error.details) {
            text += "\n" + String(decoding: details, as: UTF8.self)
        }
        return text
    }

    private func result(_ request: MCPRequest, object: JSONValue) throws -> ByteBuffer {
        let data = try JSON.encode(object)
        return result(request, members: ByteBuffer(bytes: data.dropFirst().dropLast()))
    }

    // MARK: other messages

    package static func failure(_ failure: MCPFailure) throws -> ByteBuffer {
        var error: [String: JSONValue] = [
            "code": .integer(Int64(failure.code.rawValue)), "message": .string(failure.message),
        ]
        error["data"] = failure.data
        let message: JSONValue = [
            "jsonrpc": "2.0", "id": failure.id?.json ?? .null, "error": .object(error),
        ]
        return ByteBuffer(bytes: try JSON.encode(message))
    }

    /// `count` rises by one with each notification of a call: the protocol wants it to rise, and how much is left is not known.
    package static func progress(_ token: MCPRequestID, count: Int, message: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeStaticString(
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":")
        write(token, to: &buffer)
        buffer.writeString(",\"progress\":\(count),\"message\":")
        buffer.writeJSONString(message)
        buffer.writeStaticString("}}")
        return buffer
    }

    private static func writeHead(_ id: MCPRequestID, to buffer: inout ByteBuffer) {
        buffer.writeStaticString("{\"jsonrpc\":\"2.0\",\"id\":")
        write(id, to: &buffer)
    }

    private static func write(_ id: MCPRequestID, to buffer: inout ByteBuffer) {
        switch id {
        case .string(let text): buffer.writeJSONString(text)
        case .integer(let number): buffer.writeString("\(number)")
        }
    }
}
