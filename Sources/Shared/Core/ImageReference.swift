public import FoundationEssentials

/// From where every node of the fleet can have the same bytes of an image.
public struct ImageReference: Codable, Sendable, Equatable {
    /// What the fleet calls the image.
    public var name: String
    /// `docker://registry/name@sha256:…`
    public var source: String
    /// When somebody gave the name this content. Of two contents under one name the newer one counts.
    public var namedAt: Date

    public init(name: String, source: String, namedAt: Date) {
        self.name = name
        self.source = source
        self.namedAt = namedAt
    }

    private static let scheme = "docker://"

    /// `registry/name` of a `docker://` source, without tag and digest; `nil` for any other source.
    public static func repository(of source: String) -> String? {
        guard source.hasPrefix(scheme) else { return nil }
        let name = source.dropFirst(scheme.count).prefix { $0 != "@" }
        let last = name.lastIndex(of: "/").map { name[$0...] } ?? name
        // Before the last slash a colon is that of a port.
        let repository = last.firstIndex(of: ":").map { name[..<$0] } ?? name
        return repository.isEmpty ? nil : String(repository)
    }

    /// The source that pins these bytes; `nil` for what is in no registry.
    public static func pinned(_ source: String, to digest: String) -> String? {
        repository(of: source).map { "\(scheme)\($0)@\(digest)" }
    }

    /// Which of two contents under one name counts: everybody who compares the same two decides the same.
    public func isNewer(than other: ImageReference) -> Bool {
        (namedAt, source) > (other.namedAt, other.source)
    }
}

extension ImageInfo {
    /// From where other nodes can have it; `nil` for what came from no registry, or was added by an earlier release.
    public var reference: ImageReference? {
        guard let digest, let pinned = ImageReference.pinned(source, to: digest) else { return nil }
        return ImageReference(name: name, source: pinned, namedAt: namedAt ?? addedAt)
    }
}
