public import FoundationEssentials

/// The opening message of every stream: which method, with which arguments.
///
/// A line with the method and the request's id, `exec.start req_…`, then the arguments as JSON. So the end that serves it
/// knows what it reads before it reads that, once.
public struct NodeRequest<Arguments: Codable & Sendable>: Sendable {
    public var head: NodeRequestHead
    public var arguments: Arguments

    public init(method: NodeMethod, requestID: RequestID, arguments: Arguments) {
        self.head = NodeRequestHead(method: method, requestID: requestID)
        self.arguments = arguments
    }

    /// Throws `invalid` for anything else than such a message, and names the field of the arguments that is wrong.
    public init(opening: Data) throws {
        self.head = try NodeRequestHead(opening: opening)
        self.arguments = try JSON.decode(Arguments.self, from: head.argumentText(of: opening))
    }

    public func opening() throws -> Data {
        Data("\(head.method.rawValue) \(head.requestID)\n".utf8) + (try JSON.encode(arguments))
    }
}

/// The first line of an opening message: what a router reads first.
public struct NodeRequestHead: Sendable {
    public var method: NodeMethod
    /// Goes into the logs of both ends.
    public var requestID: RequestID

    fileprivate init(method: NodeMethod, requestID: RequestID) {
        self.method = method
        self.requestID = requestID
    }

    /// Throws `invalid`.
    public init(opening: Data) throws {
        let words = opening.prefix { $0 != Self.lineFeed }.split(
            separator: UInt8(ascii: " "), maxSplits: 1, omittingEmptySubsequences: false)
        guard words.count == 2, let method = NodeMethod(rawValue: String(decoding: words[0], as: UTF8.self)),
            let requestID = RequestID(String(decoding: words[1], as: UTF8.self))
        else { throw FastableError(.invalid, "A request begins with a method that is known here and an id.") }
        self.init(method: method, requestID: requestID)
    }

    fileprivate func argumentText(of opening: Data) -> Data { opening.drop { $0 != Self.lineFeed }.dropFirst() }

    private static let lineFeed = UInt8(ascii: "\n")
}
