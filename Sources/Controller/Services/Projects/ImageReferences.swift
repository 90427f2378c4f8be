import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import Synchronization

/// From where images can be pulled, as nodes tell it, also those that are away. Of two contents under one name the newer one counts.
final class ImageReferences: Sendable {
    private struct State {
        var ofNodes: [NodeID: [ImageReference]] = [:]
        var newest: [String: ImageReference] = [:]
        /// What the database has of nodes that are away was read.
        var isComplete = false

        mutating func choose() {
            newest = Dictionary(ofNodes.values.joined().map { ($0.name, $0) }) { $0.isNewer(than: $1) ? $0 : $1 }
        }
    }

    private let store: any Store
    private let state = Mutex(State())

    init(store: any Store) { self.store = store }

    /// A node of an earlier release tells nothing.
    func heard(_ images: [ImageReference]?, from node: NodeID, now: Date = Date()) {
        // Nobody names an image in the future: the clock of one node must not decide for ever.
        let images = (images ?? []).prefix(Limits.imageReferencesTold).map { image in
            ImageReference(name: image.name, source: image.source, namedAt: min(image.namedAt, now))
        }
        state.withLock { state in
            guard state.ofNodes[node] != images else { return }
            state.ofNodes[node] = images
            state.choose()
        }
    }

    func forget(_ node: NodeID) {
        state.withLock { state in
            guard state.ofNodes.removeValue(forKey: node) != nil else { return }
            state.choose()
        }
    }

    /// From where a node that lacks the image can have it; `nil` when nobody knows.
    func reference(for image: String) async throws -> ImageReference? {
        try await complete()
        return state.withLock { $0.newest[image] }
    }

    private func complete() async throws {
        guard !state.withLock({ $0.isComplete }) else { return }
        let records = try await store.nodes()
        state.withLock { state in
            // What was heard meanwhile is newer.
            for record in records where state.ofNodes[record.id] == nil {
                state.ofNodes[record.id] = record.facts?.registryImages
            }
            state.isComplete = true
            state.choose()
        }
    }
}
