import FastableCore
import Foundation
import NodeFiles
import NodeSandbox
import TestSupport
import Testing

/// `docker://` images with programs in place of skopeo and umoci: what they are told, what becomes of what they say, and that nothing
/// is left of what goes wrong. The real ones are tested in `ContainerTests.Pull`, with a registry.
@Suite struct ImagePullTests {
    private struct Programs {
        let directory: TemporaryDirectory
        let tools: ImageStore.Tools
        let store: ImageStore
        var log: [String] {
            ((try? String(contentsOfFile: directory.path + "/log", encoding: .utf8)) ?? "").split(separator: "\n")
                .map(String.init)
        }

        static let manifest =
            #"{"schemaVersion": 2, "config": {"size": 100}, "layers": [{"size": 1000}, {"size": 24}]}"#
        static let digest = "sha256:" + Digest.of(Array(manifest.utf8))

        /// Both note their arguments. `skopeo` tells a manifest, and copies an OCI layout to where it is told, and `umoci` unpacks a root
        /// file system.
        init(skopeo: String = "", umoci: String = "", manifest: String = Programs.manifest) throws {
            directory = try TemporaryDirectory()
            let path = directory.path
            try FileManager.default.createDirectory(atPath: path + "/layout", withIntermediateDirectories: true)
            try Data("{}".utf8).write(to: URL(fileURLWithPath: path + "/layout/index.json"))
            try Data(manifest.utf8).write(to: URL(fileURLWithPath: path + "/manifest"))
            let scripts = [
                "skopeo": """
                case "$*" in *inspect*) cat "\(path)/manifest"; exit 0;; esac
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
        #expect(info.name == "node22" && info.source == Self.source && info.digest == Programs.digest)
        let exact = "docker://registry.example:5000/team/node@\(Programs.digest)"
        #expect(info.reference == ImageReference(name: "node22", source: exact, namedAt: info.addedAt))
        let image = try programs.store.image("node22")
        #expect(try String(contentsOfFile: image.rootfs + "/bin/sh", encoding: .utf8) == "program\n")
        #expect(image.environment["MADE"] == "here" && image.workingDirectory == "/srv")
        // The draft is where they put what they have in between, so that it goes with it.
        let draft = try #require(programs.log.last?.firstMatch(of: /TMPDIR=(\S+)/)).1
        #expect(draft.hasPrefix(programs.directory.path + "/images/.draft-"))
        let policy = FileManager.default.fileExists(atPath: "/etc/containers/policy.json") ? "" : "--insecure-policy "
        #expect(
            programs.log == [
                "skopeo TMPDIR= \(policy)inspect --raw \(Self.source)",
                "skopeo TMPDIR=\(draft) \(policy)copy --quiet \(exact) oci:\(draft)/layout:image",
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

    private static func reference(_ digest: String = Programs.digest) -> ImageReference {
        ImageReference(
            name: "node22", source: "docker://registry.example:5000/team/node@\(digest)",
            namedAt: Date(timeIntervalSince1970: 1_700_000_000))
    }

    /// The name of the content is as old as where it was first, however late this node has it.
    @Test func whatIsPulledKnowsWhenItWasNamed() async throws {
        let programs = try Programs()
        try await programs.store.pull(Self.reference())
        let info = try programs.store.image("node22").info
        #expect(info.reference == Self.reference() && info.addedAt > Self.reference().namedAt)
        // It is there: nobody is asked again.
        let asked = programs.log.count
        try await programs.store.pull(Self.reference())
        #expect(programs.log.count == asked)
        // The same by name is the same; something else is not.
        #expect(try await programs.store.add(ImageAdd(name: "node22", source: Self.source)) == info)
        let other = try Programs(manifest: #"{"schemaVersion": 2, "layers": []}"#)
        let same = ImageStore(directory: programs.directory.path + "/images", tools: other.tools)
        let error = try await expectError { try await same.add(ImageAdd(name: "node22", source: Self.source)) }
        #expect(error.code == .conflict)
    }

    @Test func otherBytesThanTheDigestNamesAreNotTaken() async throws {
        let programs = try Programs()
        let wanted = "sha256:" + String(repeating: "a", count: 64)
        let error = try await expectError { try await programs.store.pull(Self.reference(wanted)) }
        #expect(error.code == .unprocessable && error.message.contains("than its digest names"), "\(error)")
        #expect(programs.names == [])
        for bad in ["latest", "sha256:abc", "sha512:" + String(repeating: "a", count: 64)] {
            let error = try await expectError { try await programs.store.pull(Self.reference(bad)) }
            #expect(error.code == .invalid, "\(bad)")
        }
        #expect(programs.log.count == 1)
    }

    @Test func anImageThatDoesNotFitIsNotPulled() async throws {
        let programs = try Programs(manifest: #"{"schemaVersion": 2, "layers": [{"size": \#(Int.max / 2)}]}"#)
        let error = try await expectError {
            try await programs.store.add(ImageAdd(name: "node22", source: Self.source))
        }
        #expect(error.code == .unavailable && error.message.contains("no room for the image"), "\(error)")
        #expect(programs.names == [] && programs.log.count == 1)
    }

    /// What stands between them here are the programs; three are pulled at a time.
    @Test func theStagesComeInTheirOrder() async throws {
        let holds = try TemporaryDirectory()
        func until(_ name: String) -> String { "while ! test -e '\(holds.path)/\(name)'; do sleep 0.05; done" }
        let programs = try Programs(skopeo: until("copied"), umoci: until("unpacked"))
        let store = programs.store
        let images = (0...Limits.imagePullsAtOnce).map { number in
            var image = Self.reference()
            image.name = "node\(number)"
            return image
        }
        var pulls: [Task<Void, any Error>] = []
        func stages() -> [StartProgress.Stage?] { images.map { store.pullProgress(of: $0.name)?.stage } }
        for (number, image) in images.enumerated() {
            pulls.append(Task { try await store.pull(image) })
            try await eventually { stages()[number] == (number < Limits.imagePullsAtOnce ? .pulling : .waiting) }
        }
        // One that has not begun ends with the last who waits, and one behind it begins anew.
        pulls[3].cancel()
        await #expect(throws: CancellationError.self) { try await pulls[3].value }
        let again = Task { try await store.pull(images[3]) }
        _ = try holds.file("copied", "")
        for number in 0..<Limits.imagePullsAtOnce { try await eventually { stages()[number] == .unpacking } }
        #expect(stages()[3] == .waiting)
        _ = try holds.file("unpacked", "")
        for pull in pulls.prefix(Limits.imagePullsAtOnce) + [again] { try await pull.value }
        #expect(stages().allSatisfy { $0 == nil } && programs.names == images.map(\.name))
        #expect(programs.log.count { $0.contains(" copy ") } == images.count)
    }

    /// One pull for all; who gives up does not take it from the others.
    @Test func aPullIsSharedAndOutlivesThoseWhoGiveUp() async throws {
        let holds = try TemporaryDirectory()
        let programs = try Programs(skopeo: "while ! test -e '\(holds.path)/go'; do sleep 0.05; done")
        let store = programs.store
        let pulls = (0..<4).map { _ in Task { try await store.pull(Self.reference()) } }
        try await eventually { store.pullProgress(of: "node22")?.stage == .pulling && programs.log.count == 2 }
        for pull in pulls { pull.cancel() }
        for pull in pulls { await #expect(throws: CancellationError.self) { try await pull.value } }
        #expect(store.pullProgress(of: "node22")?.stage == .pulling, "nobody waits, and it goes on")
        let late = Task { try await store.pull(Self.reference()) }
        _ = try holds.file("go", "")
        try await late.value
        #expect(store.pullProgress(of: "node22") == nil && programs.names == ["node22"])
        #expect(programs.log.count { $0.contains(" copy ") } == 1)
    }

    /// What somebody adds by name ends when they do not want it any more, and leaves nothing; who needs it then begins anew.
    @Test func whatIsAddedEndsWithWhoAddsIt() async throws {
        let holds = try TemporaryDirectory()
        let programs = try Programs(skopeo: "while ! test -e '\(holds.path)/go'; do sleep 0.05; done")
        let store = programs.store
        let adding = Task { try await store.add(ImageAdd(name: "node22", source: Self.source)) }
        try await eventually { programs.log.count == 2 && !programs.names.isEmpty }
        adding.cancel()
        await #expect(throws: (any Error).self) { try await adding.value }
        let again = Task { try await store.add(ImageAdd(name: "node22", source: Self.source)) }
        _ = try holds.file("go", "")
        #expect(try await again.value.name == "node22")
        try await eventually { programs.names == ["node22"] }
    }

    /// What was dropped can be had again, until somebody removes the name.
    @Test func whereADroppedImageCameFromIsRemembered() async throws {
        let programs = try Programs()
        let store = programs.store
        try await store.pull(Self.reference())
        try await store.drop("node22")
        #expect(try store.list().isEmpty && programs.names == [])
        #expect(try store.references() == [Self.reference()])
        try await store.pull(try #require(try store.references().first))
        #expect(try store.references() == [Self.reference()])
        try await store.drop("node22")
        try await store.remove("node22", users: [])
        #expect(try store.references().isEmpty)
        await expectFailure(.notFound) { try await store.remove("node22", users: []) }
        _ = try await store.add(ImageAdd(name: "node22", source: Self.source))
        try await store.remove("node22", users: [])
        #expect(try store.references().isEmpty)
    }

    /// An image of an earlier release has no digest, and nobody else can pull it.
    @Test func anImageOfAnEarlierReleaseIsRead() async throws {
        let programs = try Programs()
        _ = try await programs.store.add(ImageAdd(name: "node22", source: Self.source))
        let file = URL(fileURLWithPath: programs.directory.path + "/images/node22/image.json")
        var json = try JSON.decode([String: JSONValue].self, from: Data(contentsOf: file))
        guard case .object(var info)? = json["info"] else { throw FastableError(.internal, "no info") }
        info["digest"] = nil
        json["info"] = .object(info)
        try JSON.encode(json).write(to: file)
        #expect(try programs.store.list().map(\.name) == ["node22"] && programs.store.references().isEmpty)
        let error = try await expectError {
            try await programs.store.add(ImageAdd(name: "node22", source: Self.source))
        }
        #expect(error.code == .conflict)
    }

    @Test func aMissingProgramIsNamed() async throws {
        let directory = try TemporaryDirectory()
        let store = ImageStore(directory: directory.path, tools: .init(skopeo: "/nonexistent/skopeo"))
        let error = try await expectError { try await store.add(ImageAdd(name: "node22", source: Self.source)) }
        #expect(error.message.contains("apt-get install skopeo"), "\(error)")
        #expect(try store.list().isEmpty)
    }
}
