import FastableCore

/// Where an image comes from, read from its text form.
package enum ImageSource: Equatable, Sendable {
    /// `dir:/path`: a directory that is a root file system.
    case directory(String)
    /// `oci:/path[:tag]`: an OCI image layout.
    case layout(path: String, tag: String)
    /// `docker://registry/name:tag`: an image in a registry.
    case registry(String)

    /// Throws `invalid` when the text is none of the three.
    package init(_ text: String) throws {
        if let path = Self.rest(of: text, after: "dir:"), Self.isAbsolute(path) {
            self = .directory(path)
        } else if let rest = Self.rest(of: text, after: "oci:"), Self.isAbsolute(rest) {
            let name = rest.split(separator: "/").last ?? ""
            let tag = name.split(separator: ":", maxSplits: 1).dropFirst().first.map(String.init)
            guard Self.isReference(tag ?? "latest") else { throw Self.unknown(text) }
            self = .layout(path: tag.map { String(rest.dropLast($0.count + 1)) } ?? rest, tag: tag ?? "latest")
        } else if let reference = Self.rest(of: text, after: "docker://"), Self.isReference(reference) {
            self = .registry(reference)
        } else {
            throw Self.unknown(text)
        }
    }

    private static func rest(of text: String, after prefix: String) -> String? {
        text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : nil
    }

    private static func isAbsolute(_ path: String) -> Bool {
        path.hasPrefix("/") && path.utf8.count <= Limits.pathBytes && !path.utf8.contains(0)
    }

    /// Letters, digits and what registries use between them; never a hyphen first, which a tool would take for an option.
    private static func isReference(_ text: String) -> Bool {
        guard let first = text.utf8.first, first != UInt8(ascii: "-"), text.utf8.count <= 512 else { return false }
        return text.unicodeScalars.allSatisfy {
            $0.isASCII
                && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "._-/:@".unicodeScalars.contains($0))
        }
    }

    private static func unknown(_ text: String) -> FastableError {
        FastableError(
            .invalid,
            "‘\(text)’ is not a source of images. Use dir:/path/to/rootfs, oci:/path/to/layout:tag or docker://registry/name:tag.",
            details: ["field": .string("source")])
    }
}
