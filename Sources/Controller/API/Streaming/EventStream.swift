package import NIOCore

/// Server-sent events, as the HTML standard defines them.
package enum EventStream {
    package static let mediaType = "text/event-stream"

    /// How long a stream may be quiet before `keepAlive` is sent.
    static let keepAliveTime = TimeAmount.seconds(15)

    /// A line that carries nothing: it keeps proxies from closing a quiet stream.
    package static let keepAlive = ByteBuffer(string: ": keep-alive\n\n")

    /// Appends one event. A line break in `data` becomes a new `data:` line, which the reader joins again with `\n`.
    package static func write(
        event: String? = nil, id: String? = nil, data: ByteBuffer, to buffer: inout ByteBuffer
    ) {
        if let id { writeField("id: ", id, to: &buffer) }
        if let event { writeField("event: ", event, to: &buffer) }
        var rest = data.readableBytesView
        while let end = rest.firstIndex(where: isLineBreak) {
            writeLine(rest[..<end], to: &buffer)
            let next = rest.index(after: end)
            let isPair = rest[end] == UInt8(ascii: "\r") && next < rest.endIndex && rest[next] == UInt8(ascii: "\n")
            rest = rest[(isPair ? rest.index(after: next) : next)...]
        }
        writeLine(rest, to: &buffer)
        buffer.writeStaticString("\n")
    }

    /// The fields of one line must not break the stream: everything after a line break is dropped.
    private static func writeField(_ name: StaticString, _ value: String, to buffer: inout ByteBuffer) {
        buffer.writeStaticString(name)
        buffer.writeBytes(value.utf8.prefix { !isLineBreak($0) })
        buffer.writeStaticString("\n")
    }

    private static func writeLine(_ line: ByteBufferView, to buffer: inout ByteBuffer) {
        buffer.writeStaticString("data: ")
        buffer.writeBytes(line)
        buffer.writeStaticString("\n")
    }

    private static func isLineBreak(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }
}
