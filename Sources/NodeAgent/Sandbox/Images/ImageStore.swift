public import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// The images of a node: root file systems that containers share read-only.
///
/// An image is prepared beside the others and gets its name in one step, so a name always stands for a complete image.
public struct ImageStore: Sendable {
    let directory: String
    private let tools: Tools
    let registry: Registry
    let pulls = ImagePulls()
    let dropped: DroppedImages
    private let drafts = ImageDrafts()

    /// The programs that fetch and unpack images: names of the host's, or paths.
    package struct Tools: Sendable {
        package var skopeo: String
        package var umoci: String

        package init(skopeo: String = "skopeo", umoci: String = "umoci") {
            self.skopeo = skopeo
            self.umoci = umoci
        }
    }

    /// - Parameter insecureRegistries: `host:port` of those that are spoken to without TLS.
    package init(directory: String, tools: Tools = Tools(), insecureRegistries: [String] = []) {
        self.directory = directory
        self.tools = tools
        registry = Registry(skopeo: tools.skopeo, insecure: Set(insecureRegistries))
        dropped = DroppedImages(file: directory + "-dropped.json")
    }

    /// What lies in a draft once it is filled.
    struct Content {
        /// A name in the draft, or a path on the host.
        var rootfs: String
        var settings = StoredImage.Settings()
        /// Of what came from a registry, see `ImageInfo`.
        var digest: String?
        var namedAt: Date?
    }

    /// All images, by name. One whose description is damaged is none, and keeps no other from being listed.
    public func list() throws -> [ImageInfo] {
        Directories.names(directory).filter { !$0.hasPrefix(".") }.compactMap { (try? load($0))?.info }
    }

    /// One image; `not_found` names those that there are.
    public func image(_ name: String) throws -> StoredImage {
        try Self.check(name)
        if let image = try load(name) { return image }
        let known = try list().map { "‘\($0.name)’" }.joined(separator: ", ")
        throw FastableError(
            .notFound,
            "The node has no image ‘\(name)’. " + (known.isEmpty ? "Add one with ‘image add’." : "It has \(known)."),
            details: ["image": .string(name)])
    }

    /// Registers an image under a new name: copies a directory, unpacks an OCI layout or pulls from a registry.
    ///
    /// - Parameter inPlace: a directory is used where it is, instead of being copied; it must not change any more.
    /// - Throws: `conflict` when the name is taken, `invalid` for a bad name or source, `unprocessable` when the source holds no
    ///   root file system.
    public func add(_ request: ImageAdd, inPlace: Bool = false) async throws -> ImageInfo {
        let source = try ImageSource(request.source)
        if inPlace, case .directory(let path) = source, try isInPlace(request.name) {
            return try await point(request.name, at: path, source: request.source)
        }
        switch source {
        case .registry(let reference): return try await add(request, from: reference)
        case .layout(let path, let tag):
            return try await register(request.name, source: request.source) { try await unpack(path, tag, $0) }
        case .directory(let path):
            return try await register(request.name, source: request.source) { draft in
                guard !inPlace else { return Content(rootfs: path) }
                try Self.checkDirectory(path)
                try await ImageTool.run(
                    "cp", ["-a", "--reflink=auto", "--", path + "/.", draft + "/rootfs"], "copy the image")
                return Content(rootfs: "rootfs")
            }
        }
    }

    /// Whether there is such an image and it is used where it is.
    private func isInPlace(_ name: String) throws -> Bool {
        try Self.check(name)
        return try load(name).map { !$0.rootfs.hasPrefix(path(name) + "/") } ?? false
    }

    /// Gives the name of an image that is used in place to another directory: projects made from now on begin from it, and
    /// those that there are keep what they have.
    private func point(_ name: String, at rootfs: String, source: String) async throws -> ImageInfo {
        try Self.checkDirectory(rootfs)
        let info = ImageInfo(name: name, source: source, sizeBytes: try await Self.size(rootfs), addedAt: Date())
        let image = StoredImage(info: info, rootfs: rootfs, environment: [:], workingDirectory: "/")
        let (file, bytes) = (path(name) + "/image.json", Array(try JSON.encodePretty(image)))
        try await BlockingPool.shared.run { try AtomicFile.write(file, bytes) }
        return info
    }

    /// Registers a root file system by moving it here, which takes no time on the same file system. The directory is gone
    /// from its old place afterwards.
    public func adopt(_ rootfs: String, name: String, source: String) async throws -> ImageInfo {
        try await register(name, source: source) { draft in
            try Self.checkDirectory(rootfs)
            if rename(rootfs, draft + "/rootfs") < 0 {
                guard errno == EXDEV else {
                    throw FastableError.system(errno, cannot: "move the image", context: rootfs)
                }
                try await ImageTool.run("mv", ["-T", "--", rootfs, draft + "/rootfs"], "move the image")
            }
            return Content(rootfs: "rootfs")
        }
    }

    /// Removes an image and its files; one that is used in place only loses its name. Nothing remembers then where it came from.
    ///
    /// - Parameter users: projects whose containers are built on it; `conflict` when there are any.
    package func remove(_ name: String, users: [ProjectID]) async throws {
        try Self.check(name)
        if try await dropped.forget(name), try load(name) == nil { return }
        _ = try image(name)
        guard users.isEmpty else {
            throw FastableError(
                .conflict,
                "The image ‘\(name)’ is used by \(users.count) project\(users.count == 1 ? "" : "s") on the node. Delete them first.",
                details: ["projects": .array(users.prefix(20).map { .string($0.description) })])
        }
        let leaving = ".removed-" + UUID().uuidString
        drafts.begin(leaving)
        defer { drafts.end(leaving) }
        guard rename(path(name), path(leaving)) == 0 else {
            throw FastableError.system(errno, cannot: "remove the image ‘\(name)’")
        }
        try await Directories.removeTree(path(leaving), timeout: .seconds(Limits.imageAddSeconds))
    }

    /// `invalid` unless the name has 1 to 63 lower-case letters, digits, dots, hyphens and underscores, a letter or digit first.
    static func check(_ name: String) throws {
        let isPlain: (Unicode.Scalar) -> Bool = { ("a"..."z").contains($0) || ("0"..."9").contains($0) }
        let scalars = name.unicodeScalars
        let fits = scalars.allSatisfy { isPlain($0) || "._-".unicodeScalars.contains($0) }
        guard fits, scalars.first.map(isPlain) ?? false, scalars.count <= Limits.nameBytes else {
            throw FastableError(
                .invalid,
                "‘\(name)’ cannot name an image. Use 1 to \(Limits.nameBytes) lower-case letters, digits, ‘.’, ‘-’ and ‘_’.",
                details: ["field": .string("name")])
        }
    }
}

extension ImageStore {
    func path(_ name: String) -> String { directory + "/" + name }

    func isDraft(_ name: String) -> Bool { drafts.contains(name) }

    func load(_ name: String) throws -> StoredImage? {
        guard let bytes = try SmallFile.read(path(name) + "/image.json", atMost: 1024 * 1024) else { return nil }
        var image = try JSON.decode(StoredImage.self, from: Data(bytes))
        if !image.rootfs.hasPrefix("/") { image.rootfs = path(name) + "/" + image.rootfs }
        return image
    }

    /// `fill` prepares the draft directory and says where in it, or elsewhere, the root file system is.
    func register(
        _ name: String, source: String, fill: (String) async throws -> Content
    ) async throws -> ImageInfo {
        try Self.check(name)
        try Directories.make(directory, mode: 0o700)
        guard !Directories.exists(path(name)) else { throw Self.taken(name) }
        let draftName = ".draft-" + UUID().uuidString
        let draft = path(draftName)
        drafts.begin(draftName)
        defer { drafts.end(draftName) }
        try Directories.make(draft, mode: 0o700)
        do {
            let content = try await fill(draft)
            let full = content.rootfs.hasPrefix("/") ? content.rootfs : draft + "/" + content.rootfs
            try Self.checkDirectory(full)
            let info = ImageInfo(
                name: name, source: source, sizeBytes: try await Self.size(full), addedAt: Date(),
                digest: content.digest, namedAt: content.namedAt)
            let image = StoredImage(
                info: info, rootfs: content.rootfs, environment: content.settings.environment,
                workingDirectory: content.settings.workingDirectory)
            let bytes = Array(try JSON.encodePretty(image))
            try await BlockingPool.shared.run { try AtomicFile.write(draft + "/image.json", bytes) }
            // A rename replaces an empty directory only, and an image's is not: the second of two that come at once fails.
            guard rename(draft, path(name)) == 0 else {
                throw errno == ENOTEMPTY || errno == EEXIST
                    ? Self.taken(name) : .system(errno, cannot: "keep the image")
            }
            return info
        } catch {
            // The steps back must be taken although this task may have been cancelled.
            await Task { try? await Directories.removeTree(draft, timeout: .seconds(Limits.imageAddSeconds)) }.value
            throw error
        }
    }

    static func taken(_ name: String) -> FastableError {
        FastableError(
            .conflict, "The node has an image ‘\(name)’ already. Remove it first, or use another name.",
            details: ["image": .string(name)])
    }

    /// A root file system has at least a place for programs.
    private static func checkDirectory(_ path: String) throws {
        let names = Directories.names(path)
        guard names.contains("bin") || names.contains("usr") else {
            throw FastableError(
                .unprocessable, "There is no root file system: a directory with ‘bin’ or ‘usr’ was expected.",
                context: path)
        }
    }

    func unpack(_ layout: String, _ tag: String, _ draft: String) async throws -> Content {
        guard Directories.exists(layout + "/index.json") else {
            throw FastableError(
                .unprocessable, "There is no OCI image layout: a directory with ‘index.json’ was expected.",
                context: layout)
        }
        let bundle = draft + "/bundle"
        try await ImageTool.run(
            tools.umoci, ["unpack", "--image", layout + ":" + tag, bundle], "unpack the image", temporary: draft)
        guard rename(bundle + "/rootfs", draft + "/rootfs") == 0 else {
            throw FastableError.system(errno, cannot: "keep the unpacked image", context: bundle)
        }
        let configuration = try SmallFile.read(bundle + "/config.json", atMost: 4 * 1024 * 1024)
        for leftover in [bundle, draft + "/layout"] {
            try await Directories.removeTree(leftover, timeout: .seconds(Limits.imageAddSeconds))
        }
        let settings = try StoredImage.Settings(bundleConfiguration: Data(configuration ?? Array("{}".utf8)))
        return Content(rootfs: "rootfs", settings: settings)
    }

    private static func size(_ path: String) async throws -> Int {
        let result = try await HostCommand("du", ["-s", "-x", "--block-size=1", "--", path])
            .runChecked("measure the image", timeout: .seconds(Limits.imageAddSeconds))
        return result.text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 0
    }
}
