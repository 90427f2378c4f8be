import FastableCore
import NodeFiles
import NodeSandbox
import TestSupport
import Testing

/// What registries say of images: anything may come.
@Suite struct RegistryManifestTests {
    private static func manifest(_ text: String) throws -> RegistryManifest {
        try RegistryManifest(Array(text.utf8), architecture: "amd64")
    }

    @Test func oneOfAnImageHasADigestAndASize() throws {
        let text = #"{"schemaVersion":2,"config":{"size":292},"layers":[{"size":31088070},{"size":1}]}"#
        let manifest = try Self.manifest(text)
        #expect(manifest.digest == "sha256:" + Digest.of(Array(text.utf8)))
        #expect(manifest.totalBytes == 31_088_363 && manifest.instance == nil)
    }

    @Test func ofSeveralPlatformsThisOneIsTaken() throws {
        let digests = ["a", "b", "c"].map { "sha256:" + String(repeating: $0, count: 64) }
        let parts = zip(digests, [("linux", "arm64"), ("windows", "amd64"), ("linux", "amd64")]).map {
            #"{"digest":"\#($0)","size":500,"platform":{"os":"\#($1.0)","architecture":"\#($1.1)"}}"#
        }
        let manifest = try Self.manifest(#"{"schemaVersion":2,"manifests":[\#(parts.joined(separator: ","))]}"#)
        #expect(manifest.instance == digests[2] && manifest.totalBytes == nil && manifest.digest != nil)
    }

    @Test func absurdOnesHaveNoSizeAndNoInstance() throws {
        for size in ["-1", "\(Int.max)", "null"] {
            let manifest = try Self.manifest(#"{"schemaVersion":2,"layers":[{"size":5},{"size":\#(size)},{"size":5}]}"#)
            #expect(manifest.totalBytes == nil, "\(size)")
        }
        let platform = #""platform":{"os":"linux","architecture":"amd64"}"#
        for digest in ["", "latest", "sha256:", "sha256:../../x", "sha256:" + String(repeating: "A", count: 64)] {
            let text = #"{"schemaVersion":2,"manifests":[{"digest":"\#(digest)",\#(platform)}]}"#
            #expect(try Self.manifest(text).instance == nil, "\(digest)")
        }
    }

    /// The digest of the oldest form is not that of its bytes: nobody could be sent there with it.
    @Test func theOldestFormHasNoDigest() throws {
        #expect(try Self.manifest(#"{"schemaVersion":1,"fsLayers":[]}"#).digest == nil)
    }

    @Test(arguments: ["", "[]", "{}", "null", "<html>", #"{"schemaVersion":"2"}"#])
    func whatIsNoneIsRefused(text: String) {
        expectFailure(.unprocessable, "does not describe an image") { _ = try Self.manifest(text) }
    }
}
