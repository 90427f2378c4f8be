import FastableCore

/// A path below a root, in normal form: no empty, `.` or `..` parts, not absolute. What cannot be one is refused before any file is
/// touched; symbolic links on the way are the kernel's business, see ``RootedDirectory``.
public struct RootedPath: Hashable, Sendable, CustomStringConvertible {
    /// Where the root is seen by the one who names the path; `/workspace/x` is understood as `x`.
    public static let mountPoint = "/workspace"
    public static let root = RootedPath(normal: ".")

    /// `a/b`; the root is `.`.
    public let description: String

    private init(normal text: String) { description = text }

    /// - Throws: `forbidden` for a path that leads out, `invalid` for one that cannot be a path.
    public init(_ text: String) throws {
        try Self.checkForm(text)
        var rest = text[...]
        if text == Self.mountPoint || text.hasPrefix(Self.mountPoint + "/") {
            rest = rest.dropFirst(Self.mountPoint.count)
        } else if text.hasPrefix("/") {
            throw FastableError(
                .forbidden, "‘\(text)’ is outside of \(Self.mountPoint). Use a path below it, such as ‘src/main.c’.",
                details: ["path": .string(text)])
        }
        let parts = rest.utf8.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual(".".utf8) }
        guard !parts.contains(where: { $0.elementsEqual("..".utf8) }) else {
            throw FastableError(
                .forbidden, "‘\(text)’ contains ‘..’. Use a path below \(Self.mountPoint) without it.",
                details: ["path": .string(text)])
        }
        guard !parts.contains(where: { $0.count > Self.nameBytes }) else { throw Self.tooLong(text) }
        description = parts.isEmpty ? "." : parts.map { String($0) ?? "" }.joined(separator: "/")
    }

    /// Longest name that Linux allows for one part.
    private static let nameBytes = 255

    private static func checkForm(_ text: String) throws {
        guard !text.isEmpty else {
            throw FastableError(.invalid, "The path is empty.", details: ["field": "path"])
        }
        guard !text.utf8.contains(0) else {
            throw FastableError(.invalid, "The path contains a NUL character.", details: ["field": "path"])
        }
        guard text.utf8.count < Limits.pathBytes else { throw tooLong(text) }
    }

    private static func tooLong(_ text: String) -> FastableError {
        FastableError(
            .invalid,
            "The path ‘\(text.prefix(64))…’ is too long: \(Limits.pathBytes) bytes, \(nameBytes) for each part.",
            details: ["field": "path", "limit": .integer(Int64(Limits.pathBytes))])
    }

    public var isRoot: Bool { description == "." }

    /// The last part; `.` for the root.
    public var name: String { description.split(separator: "/").last.map(String.init) ?? "." }

    /// The root is its own parent.
    public var parent: RootedPath {
        guard let slash = description.utf8.lastIndex(of: UInt8(ascii: "/")) else { return .root }
        return RootedPath(normal: String(description[..<slash]))
    }

    public var parts: [String] { isRoot ? [] : description.split(separator: "/").map(String.init) }
}
