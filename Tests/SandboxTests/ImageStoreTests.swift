import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport
import Testing

@Suite struct ImageStoreTests {
    static func rootfs(_ directory: TemporaryDirectory, _ name: String = "rootfs") throws -> String {
        let path = directory.path + "/" + name
        for part in ["", "/bin", "/etc"] { mkdir(path + part, 0o755) }
        try AtomicFile.write(path + "/bin/sh", Array("program".utf8), mode: 0o4755)
        symlink("sh", path + "/bin/bash")
        return path
    }

    static func store(_ directory: TemporaryDirectory) -> ImageStore {
        ImageStore(directory: directory.path + "/images")
    }

    @Test func aDirectoryIsCopiedWithModesAndLinks() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        let source = try Self.rootfs(directory)
        let info = try await store.add(ImageAdd(name: "one", source: "dir:" + source))
        #expect(info.name == "one" && info.source == "dir:" + source && info.sizeBytes > 0)
        let image = try store.image("one")
        var status = stat()
        #expect(stat(image.rootfs + "/bin/sh", &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o4755)
        #expect(lstat(image.rootfs + "/bin/bash", &status) == 0)
        #expect(status.st_mode & S_IFMT == S_IFLNK)
        // The copy is a copy.
        try AtomicFile.write(source + "/bin/sh", Array("changed".utf8))
        #expect(try SmallFile.read(image.rootfs + "/bin/sh", atMost: 100) == Array("program".utf8))
        #expect(try store.list().map(\.name) == ["one"])
    }

    @Test func inPlaceAndAdoptedImagesAreNotCopied() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        let source = try Self.rootfs(directory)
        _ = try await store.add(ImageAdd(name: "here", source: "dir:" + source), inPlace: true)
        #expect(try store.image("here").rootfs == source)
        try await store.remove("here", users: [])
        #expect(access(source + "/bin/sh", F_OK) == 0)

        _ = try await store.adopt(source, name: "mine", source: "built")
        #expect(access(source, F_OK) != 0)
        #expect(access(try store.image("mine").rootfs + "/bin/sh", F_OK) == 0)
    }

    @Test func anImageInPlaceCanBeReplacedByAnother() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        let sources = try ["first", "second"].map { try Self.rootfs(directory, $0) }
        for source in sources {
            let info = try await store.add(ImageAdd(name: "here", source: "dir:" + source), inPlace: true)
            #expect(info.source == "dir:" + source)
            #expect(try store.image("here").rootfs == source)
            #expect(try store.list().map(\.source) == ["dir:" + source])
        }
        // What is no root file system does not replace one.
        mkdir(directory.path + "/empty", 0o755)
        let nothing = await #expect(throws: FastableError.self) {
            try await store.add(ImageAdd(name: "here", source: "dir:\(directory.path)/empty"), inPlace: true)
        }
        #expect(nothing?.code == .unprocessable)
        // Nor does a copy, and an image that was copied is not pointed elsewhere.
        let copy = await #expect(throws: FastableError.self) {
            try await store.add(ImageAdd(name: "here", source: "dir:" + sources[0]))
        }
        #expect(copy?.code == .conflict)
        #expect(try store.image("here").rootfs == sources[1])
        _ = try await store.add(ImageAdd(name: "copied", source: "dir:" + sources[0]))
        let pointed = await #expect(throws: FastableError.self) {
            try await store.add(ImageAdd(name: "copied", source: "dir:" + sources[1]), inPlace: true)
        }
        #expect(pointed?.code == .conflict)
        #expect(Leftovers.names(directory.path + "/images").sorted() == ["copied", "here"])
    }

    @Test func aNameIsTakenOnce() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        let request = ImageAdd(name: "one", source: "dir:" + (try Self.rootfs(directory)))
        let results = await withTaskGroup(of: Result<ImageInfo, any Error>.self) { group in
            for _ in 0..<4 {
                group.addTask { do { return .success(try await store.add(request)) } catch { return .failure(error) } }
            }
            return await group.reduce(into: [Result<ImageInfo, any Error>]()) { $0.append($1) }
        }
        #expect(results.count { if case .success = $0 { true } else { false } } == 1)
        for case .failure(let error) in results { #expect((error as? FastableError)?.code == .conflict) }
        #expect(Leftovers.names(directory.path + "/images") == ["one"])
    }

    @Test func anImageInUseStays() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        _ = try await store.adopt(try Self.rootfs(directory), name: "one", source: "x")
        let used = await #expect(throws: FastableError.self) { try await store.remove("one", users: [ProjectID()]) }
        #expect(used?.code == .conflict)
        try await store.remove("one", users: [])
        let gone = await #expect(throws: FastableError.self) { try await store.remove("one", users: []) }
        #expect(gone?.code == .notFound)
        #expect(Leftovers.names(directory.path + "/images").isEmpty)
    }

    @Test(arguments: [
        "", ".", "..", "../x", "a/b", ".hidden", "-rf", "Big", "a b", "ä", String(repeating: "a", count: 64),
    ])
    func badNamesAreRefused(_ name: String) async throws {
        let directory = try TemporaryDirectory()
        let source = try Self.rootfs(directory)
        let error = await #expect(throws: FastableError.self) {
            try await Self.store(directory).add(ImageAdd(name: name, source: "dir:" + source))
        }
        #expect(error?.code == .invalid)
        #expect(throws: FastableError.self) { try Self.store(directory).image(name) }
    }

    @Test(arguments: ["dir:/nowhere", "dir:/proc/self", "oci:/nowhere:tag"])
    func aSourceWithoutARootFileSystemIsRefused(_ source: String) async throws {
        let directory = try TemporaryDirectory()
        let error = await #expect(throws: FastableError.self) {
            try await Self.store(directory).add(ImageAdd(name: "x", source: source))
        }
        #expect(error?.code == .unprocessable)
        #expect(Leftovers.names(directory.path + "/images").isEmpty)
    }

    @Test func draftsOfACrashAreRemoved() async throws {
        let directory = try TemporaryDirectory()
        let store = Self.store(directory)
        _ = try await store.adopt(try Self.rootfs(directory), name: "one", source: "x")
        mkdir(directory.path + "/images/.draft-1", 0o700)
        mkdir(directory.path + "/images/.draft-1/rootfs", 0o700)
        #expect(try store.list().count == 1)
        try await store.removeUnregistered()
        #expect(Leftovers.names(directory.path + "/images") == ["one"])
    }

    @Test(.enabled(if: Host.isRoot && Host.find("umoci") != nil, "needs root and umoci: apt-get install umoci"))
    func anOCILayoutIsUnpacked() async throws {
        let directory = try TemporaryDirectory()
        let layout = directory.path + "/layout"
        let rootfs = try Self.rootfs(directory)
        for arguments in [
            ["init", "--layout", layout], ["new", "--image", layout + ":v1"],
            ["insert", "--image", layout + ":v1", rootfs, "/"],
            ["config", "--image", layout + ":v1", "--config.env", "FROM_IMAGE=yes", "--config.workingdir", "/srv"],
        ] { try await HostCommand("umoci", arguments).runChecked("make a layout") }
        let store = Self.store(directory)
        _ = try await store.add(ImageAdd(name: "one", source: "oci:\(layout):v1"))
        let image = try store.image("one")
        #expect(try SmallFile.read(image.rootfs + "/bin/sh", atMost: 100) == Array("program".utf8))
        #expect(image.environment["FROM_IMAGE"] == "yes")
        #expect(image.environment["TERM"] == nil)
        #expect(image.workingDirectory == "/srv")
        #expect(Set(Leftovers.names(directory.path + "/images/one")) == ["rootfs", "image.json"])
    }
}

@Suite struct ImageSourceTests {
    @Test func threeKindsAreKnown() throws {
        #expect(try ImageSource("dir:/a/b") == .directory("/a/b"))
        #expect(try ImageSource("oci:/a/b") == .layout(path: "/a/b", tag: "latest"))
        #expect(try ImageSource("oci:/a:x/b:v1.2") == .layout(path: "/a:x/b", tag: "v1.2"))
        #expect(
            try ImageSource("docker://registry.example:5000/a/b@sha256:00ff")
                == .registry("registry.example:5000/a/b@sha256:00ff"))
    }

    @Test(arguments: [
        "", "/a/b", "dir:", "dir:a/b", "oci:a:b", "docker://", "docker://-o", "docker://a b", "docker://a;b",
        "http://x", "oci:/a:--x",
        "dir:/a\0b", "docker:image",
    ])
    func anythingElseIsRefused(_ text: String) {
        let error = #expect(throws: FastableError.self) { try ImageSource(text) }
        #expect(error?.code == .invalid)
        #expect(error?.message.contains("docker://") == true)
    }
}
