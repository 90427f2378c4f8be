import FoundationEssentials
import Synchronization

/// A container's spec as text in a message. A project's commands bring the same one again and again: each end makes it, or reads
/// it, once.
@propertyWrapper
public struct ContainerSpecText: Codable, Sendable {
    public var wrappedValue: ContainerSpec

    public init(wrappedValue: ContainerSpec) { self.wrappedValue = wrappedValue }

    public init(from decoder: any Decoder) throws {
        wrappedValue = try Known.spec(in: try decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(try Known.text(of: wrappedValue))
    }
}

/// What was made or read before.
private enum Known {
    private struct Texts {
        var made: [ProjectID: (spec: ContainerSpec, text: String)] = [:]
        var read: [String: ContainerSpec] = [:]
    }

    private static let texts = Mutex(Texts())

    static func text(of spec: ContainerSpec) throws -> String {
        if let known = texts.withLock({ $0.made[spec.project] }), known.spec == spec { return known.text }
        let text = String(decoding: try JSON.encode(spec), as: UTF8.self)
        guard isKept(text) else { return text }
        texts.withLock { texts in
            if texts.made.count >= Limits.specTextsKept { texts.made = [:] }
            texts.made[spec.project] = (spec, text)
        }
        return text
    }

    static func spec(in text: String) throws -> ContainerSpec {
        if let known = texts.withLock({ $0.read[text] }) { return known }
        let spec: ContainerSpec = try JSON.decode(from: Data(text.utf8))
        guard isKept(text) else { return spec }
        texts.withLock { texts in
            if texts.read.count >= Limits.specTextsKept { texts.read = [:] }
            texts.read[text] = spec
        }
        return spec
    }

    private static func isKept(_ text: String) -> Bool { text.utf8.count <= Limits.specTextKeptBytes }
}
