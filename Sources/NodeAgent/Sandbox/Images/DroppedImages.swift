import FastableCore
import FoundationEssentials
import NodeLinux
import Synchronization

/// From where images can be had that were dropped since the disk was full: their names stay good, and the next start pulls them again.
final class DroppedImages: Sendable {
    private let file: String
    private let turn = Mutex(())

    init(file: String) { self.file = file }

    /// Blocks, as everything here that is not `async`.
    var all: [ImageReference] { turn.withLock { _ in read() } }

    func remember(_ image: ImageReference) async throws {
        try await change { images in
            images.removeAll { $0.name == image.name }
            images = (images + [image]).suffix(Limits.droppedImagesRemembered)
        }
    }

    /// Somebody does not want it any more. `false` when it is not remembered.
    func forget(_ name: String) async throws -> Bool {
        try await change { images in
            let count = images.count
            images.removeAll { $0.name == name }
            return images.count < count
        }
    }

    private func change<Value: Sendable>(
        _ body: @escaping @Sendable (inout [ImageReference]) -> Value
    ) async throws -> Value {
        try await BlockingPool.shared.run { [self] in
            try turn.withLock { _ in
                let before = read()
                var images = before
                let value = body(&images)
                if images != before { try AtomicFile.write(file, Array(try JSON.encodePretty(images))) }
                return value
            }
        }
    }

    /// A file that cannot be read makes images that have to be added again, and nothing worse.
    private func read() -> [ImageReference] {
        guard let bytes = try? SmallFile.read(file, atMost: 1024 * 1024) else { return [] }
        return (try? JSON.decode([ImageReference].self, from: Data(bytes))) ?? []
    }
}
