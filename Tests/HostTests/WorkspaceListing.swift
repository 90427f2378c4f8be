import FastableCore
import Testing

/// All that a workspace holds, as text: names, modes and owners, and a digest of each file. An answer leaves out the middle of a long
/// text, so the digest of all of it comes first.
enum WorkspaceListing {
    private static let command = """
        cd /workspace && { find . -exec stat -c '%n %a %u:%g' {} + && find . -type f -exec sha256sum {} +; } \\
        | busybox sort > /tmp/listing && sha256sum /tmp/listing && cat /tmp/listing
        """

    static func of(_ project: String, on host: Installation) async throws -> String {
        let answer = try await host.exec(project, command, timeoutSeconds: 120)
        #expect(answer["exitCode"] == 0, "\(answer)")
        return answer["stdout"]?.string ?? ""
    }
}
