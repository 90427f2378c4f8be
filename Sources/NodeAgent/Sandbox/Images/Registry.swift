import FastableCore
import NodeLinux

/// Registries, as skopeo speaks to them.
struct Registry: Sendable {
    let skopeo: String
    /// `host:port` of those that are spoken to without TLS.
    let insecure: Set<String>

    /// What an image is made of. A digest in the reference is held against what comes.
    func manifest(of reference: String) async throws -> RegistryManifest {
        let found = try RegistryManifest(try await inspect(reference))
        if let wanted = reference.split(separator: "@").dropFirst().first, found.digest != String(wanted) {
            throw FastableError(
                .unprocessable,
                "The registry gave something else for the image ‘\(reference)’ than its digest names. It is not used; "
                    + "ask those who run the registry.")
        }
        guard let instance = found.instance, let repository = ImageReference.repository(of: "docker://" + reference)
        else { return found }
        var whole = found
        whole.totalBytes = try RegistryManifest(try await inspect("\(repository)@\(instance)")).totalBytes
        return whole
    }

    /// Brings an image into an OCI layout, under the tag `image`.
    ///
    /// - Parameter directory: it and what is needed meanwhile lie in there.
    func copy(_ reference: String, to layout: String, in directory: String) async throws {
        try await run(
            ["copy", "--quiet"] + (isInsecure(reference) ? ["--src-tls-verify=false"] : []) + [
                "docker://" + reference, "oci:\(layout):image",
            ], reference, temporary: directory)
    }

    private func inspect(_ reference: String) async throws -> [UInt8] {
        let result = try await run(
            ["inspect", "--raw"] + (isInsecure(reference) ? ["--tls-verify=false"] : []) + ["docker://" + reference],
            reference)
        guard !result.truncated else {
            throw FastableError(
                .unprocessable,
                "The registry's description of the image ‘\(reference)’ has more than \(Limits.imageManifestBytes) bytes."
            )
        }
        return Array(result.stdout)
    }

    @discardableResult
    private func run(
        _ arguments: [String], _ reference: String, temporary: String? = nil
    ) async throws -> HostCommand.Result {
        // Debian's package brings a policy file; without one the tool would refuse every image.
        let policy = Directories.exists("/etc/containers/policy.json") ? [] : ["--insecure-policy"]
        do {
            return try await ImageTool.run(
                skopeo, policy + arguments, "pull the image ‘\(reference)’", temporary: temporary,
                outputLimit: Limits.imageManifestBytes)
        } catch var error as FastableError where error.code == .internal {
            error.code = .unavailable
            error.message +=
                " Look whether the node reaches the registry and that has the image, and try again; ‘fastable image add’ "
                + "gives the name another source."
            throw error
        }
    }

    private func isInsecure(_ reference: String) -> Bool {
        reference.firstIndex(of: "/").map { insecure.contains(String(reference[..<$0])) } ?? false
    }
}
