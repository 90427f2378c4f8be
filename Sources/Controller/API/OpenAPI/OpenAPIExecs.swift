import FastableCore

/// The paths for following a command.
enum OpenAPIExecs {
    private static let exec = OpenAPIRoutes.parameter("exec", "The id of the command.")

    private static let follower = OpenAPIRoutes.query(
        "follower",
        "A name of the follower's own choice, the same on each of its connections: a new one takes the place of the last."
    )

    static var output: JSONValue {
        let get = OpenAPIRoutes.get("exec_output", outputSummary, answer: .bytes, tag: "bytes")
        let answer = get["responses"]?["200"] ?? .null
        let content: JSONValue = [
            "application/octet-stream": ["schema": .bytes], EventStream.mediaType: ["schema": ["type": "string"]],
        ]
        let responses = (get["responses"] ?? .null).with("200", answer.with("content", content))
            .with("204", .described("`Last-Event-ID` was that of the last event: nothing follows."))
        return [
            "parameters": [exec],
            "get": get.with("responses", responses).with(
                "parameters",
                [
                    OpenAPIRoutes.query(
                        "stream", "stdout or stderr. Without it bytes are stdout, and events are both."),
                    OpenAPIRoutes.query("offset", "Where to begin in that stream.", type: "integer"),
                    tail,
                    OpenAPIRoutes.query(
                        "follow", "Bytes: waits for more until the command ends. Events do that always.",
                        type: "boolean"),
                    OpenAPIRoutes.query("stdout", "Events: where to begin in stdout.", type: "integer"),
                    OpenAPIRoutes.query("stderr", "Events: where to begin in stderr.", type: "integer"),
                    follower,
                    OpenAPIRoutes.header("Last-Event-ID"),
                ]),
        ]
    }

    static var attach: JSONValue {
        let get = OpenAPIRoutes.get("exec_attach", attachSummary, answer: .object, tag: "bytes")
        var responses = OpenAPI.problems
        responses["101"] = .described("The connection is a WebSocket now.")
        responses["426"] = ["$ref": "#/components/responses/Problem"]
        return [
            "parameters": [exec],
            "get": get.with("responses", .object(responses)).with("description", .string(attachDescription)).with(
                "parameters",
                [
                    OpenAPIRoutes.query("stdout", "Where to begin in stdout.", type: "integer"),
                    OpenAPIRoutes.query("stderr", "Where to begin in stderr.", type: "integer"),
                    tail,
                    OpenAPIRoutes.query(
                        "stdin",
                        "The offset of the first byte that is sent, or `append`. Without it, sending is refused."),
                    follower,
                    OpenAPIRoutes.header("Sec-WebSocket-Protocol"),
                ]),
        ]
    }

    private static var tail: JSONValue {
        OpenAPIRoutes.query(
            "tail", "Begins so many bytes before the present end, in place of an offset.", type: "integer")
    }

    private static let outputSummary = """
        The bytes of one output stream, or both as server-sent events. With bytes `X-Fastable-Offset` tells the place of the first \
        one. Events are `started`, `stdout`, `stderr`, `gap`, and at last `result` or `error`; the id of each tells both offsets \
        behind it, and `Last-Event-ID` goes on there.
        """
    private static let attachSummary = "Follows a command on a WebSocket, and writes to it."
    private static let attachDescription = """
        Offer the subprotocol `\(AttachSession.subprotocol)`; a page in a browser adds `fastable.token.` and its token as another \
        one. Each binary message is one frame as in `\(ToolFrameWriter.mediaType)`, with at most \(Limits.framePayloadBytes) bytes \
        behind its header. The server sends the messages `started` and `gap`, data on channel 1 (stdout) and 2 (stderr), `{"stdin":{"passed":N}}`, and at last `result` or `error`. The client \
        sends data on channel 0, the end of channel 0 (empty, or its offset in 8 bytes, which is checked), `{"resize":{"rows":R,"columns":C}}` and `{"signal":"SIGINT"}`. When it \
        goes away the command goes on; attach again at the offsets that were reached. A token has at most \(Limits.attachmentsPerToken) \
        followers at a time; one more is answered with 429.
        """
}
