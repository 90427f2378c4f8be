/// How far a container on its way is.
public struct StartProgress: Codable, Sendable, Equatable {
    public enum Stage: String, Codable, Sendable, CaseIterable {
        /// It is not its turn yet, or not that of its image.
        case waiting
        /// Its image comes from a registry.
        case pulling
        case unpacking
        /// The container itself is made.
        case starting
    }

    public var stage: Stage
    /// The same in a sentence.
    public var message: String
    /// Between 0 and 1, where that is known.
    public var fraction: Double?
    public var doneBytes: Int?
    public var totalBytes: Int?

    public init(
        _ stage: Stage, _ message: String, fraction: Double? = nil, doneBytes: Int? = nil, totalBytes: Int? = nil
    ) {
        self.stage = stage
        self.message = message
        self.fraction = fraction
        self.doneBytes = doneBytes
        self.totalBytes = totalBytes
    }
}

/// Makes a container unless it runs. On the wire these are the fields of the specification, and one more.
public struct ContainerEnsure: Codable, Sendable {
    public var container: ContainerSpec
    /// Who asks wants `ContainerEnsureAnswer.starting`, as often as there is something to tell.
    public var wantsStart: Bool?

    public init(container: ContainerSpec, wantsStart: Bool? = nil) {
        self.container = container
        self.wantsStart = wantsStart
    }

    private enum CodingKeys: String, CodingKey { case wantsStart }

    public init(from decoder: any Decoder) throws {
        container = try ContainerSpec(from: decoder)
        wantsStart = try decoder.container(keyedBy: CodingKeys.self).decodeIfPresent(Bool.self, forKey: .wantsStart)
    }

    public func encode(to encoder: any Encoder) throws {
        try container.encode(to: encoder)
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encodeIfPresent(wantsStart, forKey: .wantsStart)
    }
}

/// One message of the answer to `ContainerEnsure`; the reply is the last one.
public enum ContainerEnsureAnswer: Codable, Sendable {
    case starting(StartProgress)
    case reply(NodeReply<ContainerStatus>)

    private enum CodingKeys: String, CodingKey { case starting }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        if let progress = try fields.decodeIfPresent(StartProgress.self, forKey: .starting) {
            self = .starting(progress)
        } else {
            self = .reply(try NodeReply(from: decoder))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .starting(let progress):
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(progress, forKey: .starting)
        case .reply(let reply): try reply.encode(to: encoder)
        }
    }
}
