import FastableCore
import FoundationEssentials
import NodeFiles

/// What a registry says of an image before anything of it comes. Pure.
package struct RegistryManifest: Sendable, Equatable {
    /// Names these bytes in the registry; `nil` for the oldest form, whose digest is not that of its bytes.
    package var digest: String?
    /// Of configuration and layers, as they are sent; `nil` when it does not say so.
    package var totalBytes: Int?
    /// Of an image for several platforms: the manifest of the one that is asked for.
    package var instance: String?

    private struct Text: Decodable {
        struct Part: Decodable {
            struct Platform: Decodable {
                var architecture: String?
                var os: String?
            }

            var digest: String?
            var size: Int?
            var platform: Platform?
        }

        var schemaVersion: Int?
        var config: Part?
        var layers: [Part]?
        var manifests: [Part]?
    }

    /// Throws `unprocessable` for what is no manifest.
    package init(_ bytes: [UInt8], architecture: String = RegistryManifest.architecture) throws {
        guard let text = try? JSONDecoder().decode(Text.self, from: Data(bytes)), let version = text.schemaVersion
        else {
            throw FastableError(.unprocessable, "The registry gave something that does not describe an image.")
        }
        digest = version == 2 ? "sha256:" + Digest.of(bytes) : nil
        instance = text.manifests?.first {
            $0.platform?.os == "linux" && $0.platform?.architecture == architecture
        }?.digest.flatMap { Self.isDigest($0) ? $0 : nil }
        totalBytes = text.layers.flatMap { layers in Self.sum((layers + [text.config].compactMap(\.self)).map(\.size)) }
    }

    package static func isDigest(_ text: String) -> Bool {
        let scheme = "sha256:"
        return text.hasPrefix(scheme) && Digest.isForm(String(text.dropFirst(scheme.count)))
    }

    /// A registry may say anything: absurd sizes are none.
    private static func sum(_ sizes: [Int?]) -> Int? {
        var total = 0
        for size in sizes {
            guard let size, size >= 0 else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(size)
            guard !overflow else { return nil }
            total = sum
        }
        return total
    }

    /// This machine's, in the words of registries.
    #if arch(arm64)
        package static let architecture = "arm64"
    #else
        package static let architecture = "amd64"
    #endif
}
