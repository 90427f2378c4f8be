/// A value that must not be seen: it prints as `‹redacted›` and is not `Codable`, so that no log, error or answer carries it
/// by accident. Use `reveal()` at the one place that needs it.
public struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let value: String

    public init(_ value: String) { self.value = value }

    public func reveal() -> String { value }

    public var description: String { "‹redacted›" }
    public var debugDescription: String { "‹redacted›" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
