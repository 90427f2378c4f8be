import FastableCore
import Foundation
import NodeSandbox
import TestSupport
import Testing

/// `docker://` images with programs in place of skopeo and umoci: what they are told, what becomes of what they say, and that nothing
/// is left of what goes wrong. The real umoci is tested with a real layout; for the real skopeo a registry would be needed.
@Suite struct ImagePullTests {
    private struct Programs {
        let directory: TemporaryDirectory
        let tools: ImageStore.Tools
        let store: ImageStore
        var log: [String] {
            ((try? String(contentsOfFile: directory.path + "/log", encoding: .utf8)) ?? "").split(separator: "\n")
                .map(String.init)
        }

        /// Both note their arguments. `skopeo` copies an OCI layout to where it is told, and `umoci` unpacks a root file system.
        init(skopeo: String = "", umoci: String = "") throws {
            directory = try TemporaryDirectory()
            let path = directory.path
            try FileManager.default.createDirectory(atPath: path + "/layout", withIntermediateDirectories: true)
            try Data("{}".utf8).write(to: URL(fileURLWithPath: path + "/layout/index.json"))
            let scripts = [
                "skopeo": """
                \(skopeo)
                for last in "$@"; do :; done
                target=${last#oci:}; target=${target%:image}
                cp -r "\(path)/layout" "$target"
                """,
                "umoci": """
                \(umoci)
                for last in "$@"; do :; done
                mkdir -p "$last/rootfs/bin"
                echo program > "$last/rootfs/bin/sh"
                printf '{"process": {"env": ["PATH=/bin", "MADE=here"], "cwd": "/srv"}}' > "$last/config.json"
                """,
            ]
            for (name, body) in scripts {
                let script = "#!/bin/sh\nset -e\necho \"\(name) TMPDIR=$TMPDIR $*\" >> '\(path)/log'\n" + body + "\n"
                try Data(script.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
                try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(path)/\(name)")
            }
            tools = .init(skopeo: path + "/skopeo", umoci: path + "/umoci")
            store = ImageStore(directory: path + "/images", tools: tools)
        }

        var names: [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: directory.path + "/images")) ?? []).sorted()
        }
    }

    private static let source = "docker://registry.example:5000/team/node:22"

    @Test func anImageIsPulledUnpackedAndKept() async throws {
        let programs = try Programs()
        let info = try await programs.store.add(ImageAdd(name: "node22", source: Self.source))
        #expect(info.name == "node22" && info.source == Self.source)
        let image = try programs.store.image("node22")
        #expect(try String(contentsOfFile: image.rootfs + "/bin/sh", encoding: .utf8) == "program\n")
        #expect(image.environment["MADE"] == "here" && image.workingDirectory == "/srv")
        // The draft is where they put what they have in between, so that it goes with it.
        let draft = try #require(programs.log.first?.firstMatch(of: /TMPDIR=(\S+)/)).1
        #expect(draft.hasPrefix(programs.directory.path + "/images/.draft-"))
        let policy = FileManager.default.fileExists(atPath: "/etc/containers/policy.json") ? "" : "--insecure-policy "
        #expect(
            programs.log == [
                "skopeo TMPDIR=\(draft) \(policy)copy --quiet \(Self.source) oci:\(draft)/layout:image",
                "umoci TMPDIR=\(draft) unpack --image \(draft)/layout:image \(draft)/bundle",
            ])
        #expect(programs.names == ["node22"], "no draft is left")
        let kept = try FileManager.default.contentsOfDirectory(atPath: programs.directory.path + "/images/node22")
        #expect(kept.sorted() == ["image.json", "rootfs"], "neither layout nor bundle")
    }

    @Test(
        arguments: [
            ("echo noise >&2; echo \"manifest unknown in $TMPDIR\" >&2; exit 1", "", "It said: manifest unknown in …"),
            ("kill -9 $$", "", "pull the image"),
            // It says that all is well, and has brought nothing.
            ("exit 0", "", "index.json"),
            ("", "echo 'no space left' >&2; exit 1", "It said: no space left"),
        ])
    func whatFailsIsSaidAndLeavesNothing(skopeo: String, umoci: String, words: String) async throws {
        let programs = try Programs(skopeo: skopeo, umoci: umoci)
        let error = try await expectError {
            try await programs.store.add(ImageAdd(name: "node22", source: Self.source))
        }
        #expect(error.message.contains(words), "\(error)")
        #expect(!error.message.contains(programs.directory.path), "no path of the host in what people read")
        #expect(programs.names == [])
        // The name is free.
        let working = try Programs()
        let again = ImageStore(directory: programs.directory.path + "/images", tools: working.tools)
        #expect(try await again.add(ImageAdd(name: "node22", source: Self.source)).name == "node22")
    }

    @Test func aMissingProgramIsNamed() async throws {
        let directory = try TemporaryDirectory()
        let store = ImageStore(directory: directory.path, tools: .init(skopeo: "/nonexistent/skopeo"))
        let error = try await expectError { try await store.add(ImageAdd(name: "node22", source: Self.source)) }
        #expect(error.message.contains("apt-get install skopeo"), "\(error)")
        #expect(try store.list().isEmpty)
    }
}
