package import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux

/// Images of registries.
extension ImageStore {
    /// Adds what a registry has under a reference. A name that stands for the same bytes already is fine.
    func add(_ request: ImageAdd, from reference: String) async throws -> ImageInfo {
        try Self.check(request.name)
        var isOurs = false
        if !Directories.exists(path(request.name)) {
            isOurs = try await pulls.join(request.name, outlivesWaiters: false) {
                _ = try await fetch(request.name, reference, source: request.source)
            }
        }
        guard let there = try load(request.name)?.info else { throw Self.taken(request.name) }
        if isOurs { return there }
        guard let digest = there.digest, try await registry.manifest(of: reference).digest == digest else {
            throw Self.taken(request.name)
        }
        return there
    }

    func has(_ name: String) throws -> Bool {
        try Self.check(name)
        return try load(name) != nil
    }

    /// Returns once there is an image of this name: who needs it meanwhile shares one pull.
    package func pull(_ wish: ImageReference) async throws {
        guard try !has(wish.name) else { return }
        guard case .registry(let reference) = try ImageSource(wish.source),
            let digest = reference.split(separator: "@").dropFirst().first,
            RegistryManifest.isDigest(String(digest))
        else {
            throw FastableError(
                .invalid, "The image ‘\(wish.name)’ cannot be pulled: its source names no bytes.", context: wish.source)
        }
        do {
            try await pulls.join(wish.name, outlivesWaiters: true) {
                _ = try await fetch(wish.name, reference, source: wish.source, namedAt: wish.namedAt)
            }
        } catch let error as FastableError where error.code == .conflict {
            // Somebody has added it in another way meanwhile.
            guard try has(wish.name) else { throw error }
        }
    }

    /// How far the pull of an image is; `nil` when there is none.
    package func pullProgress(of name: String) -> StartProgress? { pulls.progress(of: name) }

    private func fetch(
        _ name: String, _ reference: String, source: String, namedAt: Date? = nil
    ) async throws -> ImageInfo {
        pulls.note(ImagePullText.pulling(name), of: name)
        let manifest = try await registry.manifest(of: reference)
        try Directories.make(directory, mode: 0o700)
        try checkRoom(for: manifest, name)
        // A tag may be given to other bytes meanwhile; the digest names those that were looked at.
        let pinned = manifest.digest.flatMap { ImageReference.pinned("docker://" + reference, to: $0) }
        let exact = pinned.map { String($0.dropFirst("docker://".count)) } ?? reference
        return try await register(name, source: source) { draft in
            let layout = draft + "/layout"
            try await telling(name, layout, manifest.totalBytes) {
                try await registry.copy(exact, to: layout, in: draft)
            }
            pulls.note(ImagePullText.unpacking(name), of: name)
            var content = try await unpack(layout, "image", draft)
            (content.digest, content.namedAt) = (manifest.digest, namedAt)
            return content
        }
    }

    /// Tells how much has come while `body` brings it.
    private func telling(
        _ name: String, _ layout: String, _ totalBytes: Int?, _ body: () async throws -> Void
    ) async throws {
        let teller = Task {
            while true {
                try await Task.sleep(for: .milliseconds(Limits.imagePullLookMilliseconds))
                let bytes = try await BlockingPool.shared.run { Self.bytes(in: layout) }
                try Task.checkCancellation()
                pulls.note(ImagePullText.pulling(name, bytes, of: totalBytes), of: name)
            }
        }
        defer { teller.cancel() }
        try await body()
    }

    /// Layers come into files beside the place where they are then put. Blocks.
    static func bytes(in layout: String) -> Int {
        [layout, layout + "/blobs/sha256"].flatMap { place in Directories.names(place).map { place + "/" + $0 } }
            .reduce(0) { sum, file in
                var status = stat()
                guard lstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return sum }
                return sum + Int(status.st_size)
            }
    }

    private func checkRoom(for manifest: RegistryManifest, _ name: String) throws {
        guard let bytes = manifest.totalBytes, let space = DiskSpace(directory) else { return }
        let (unpacked, overflow) = bytes.multipliedReportingOverflow(by: Limits.imageRoomFactor)
        let free = space.freeBytes - Limits.nodeDiskFreeBytesLeast
        guard overflow || unpacked > free else { return }
        let mebibyte = 1024 * 1024
        throw FastableError(
            .unavailable,
            "The node's disk has no room for the image ‘\(name)’: it has \(bytes / mebibyte) MiB and needs about "
                + "\(Limits.imageRoomFactor) times that until it is unpacked; \(max(0, free) / mebibyte) MiB can be given. Ask the "
                + "operator to free space on the node.", details: ["image": .string(name)], retryAfterSeconds: 60)
    }
}

/// What is said of a pull.
enum ImagePullText {
    static func pulling(_ name: String, _ doneBytes: Int = 0, of totalBytes: Int? = nil) -> StartProgress {
        let mebibyte = 1024 * 1024
        // What was packed otherwise in the registry may grow a little.
        let done = totalBytes.map { min($0, doneBytes) } ?? doneBytes
        let total = totalBytes.map { " of \($0 / mebibyte)" } ?? ""
        return StartProgress(
            .pulling, "The image ‘\(name)’ is pulled: \(done / mebibyte)\(total) MiB have come.",
            fraction: totalBytes.flatMap { $0 > 0 ? Double(done) / Double($0) : nil }, doneBytes: done,
            totalBytes: totalBytes)
    }

    static func unpacking(_ name: String) -> StartProgress {
        StartProgress(.unpacking, "The image ‘\(name)’ has come and is unpacked.")
    }
}
