package import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization

/// Directories of images that are being added or removed.
final class ImageDrafts: Sendable {
    private let names = Mutex<Set<String>>([])

    func begin(_ name: String) { names.withLock { _ = $0.insert(name) } }
    func end(_ name: String) { names.withLock { _ = $0.remove(name) } }
    func contains(_ name: String) -> Bool { names.withLock { $0.contains(name) } }
}

/// What lies beside the images, and what of them nobody uses. All but `removeUnregistered` blocks.
extension ImageStore {
    /// Directories that belong to no image: those that a crash left of images that were being added or removed, and those without the
    /// description that makes an image. One with a damaged description is an operator's to look at.
    func unregistered() -> Set<String> {
        Set(Directories.names(directory)).filter { name in
            if name.hasPrefix(".") { return !isDraft(name) }
            return !Directories.exists(path(name) + "/image.json")
        }
    }

    /// Removes such directories, if they still are.
    package func removeUnregistered(_ names: Set<String>) async throws {
        for name in names.intersection(unregistered()).sorted() {
            try await Directories.removeTree(path(name), timeout: .seconds(Limits.imageAddSeconds))
        }
    }

    package func removeUnregistered() async throws { try await removeUnregistered(unregistered()) }

    /// Removes an image that nobody uses, and remembers where it came from.
    package func drop(_ name: String) async throws {
        let reference = try image(name).info.reference
        try await remove(name, users: [])
        if let reference { try await dropped.remember(reference) }
    }

    /// From where other nodes can have the images of this one, and those that it had.
    package func references() throws -> [ImageReference] {
        let present = try list()
        let names = Set(present.map(\.name))
        let all = present.compactMap(\.reference) + dropped.all.filter { !names.contains($0.name) }
        return Array(all.prefix(Limits.imageReferencesTold))
    }

    /// A container begins on an image: nobody wants to lose it for a while.
    func noteUse(of name: String) { utimensat(AT_FDCWD, path(name) + "/image.json", nil, 0) }

    /// All images, with the time of their last use.
    func resting() throws -> [DiskReclaim.Image] {
        try list().compactMap { info in
            var status = stat()
            guard lstat(path(info.name) + "/image.json", &status) == 0 else { return nil }
            let lastUsed = Date(timeIntervalSince1970: Double(status.st_mtim.tv_sec))
            return DiskReclaim.Image(
                name: info.name, source: info.source, lastUsed: max(lastUsed, info.addedAt))
        }
    }
}
