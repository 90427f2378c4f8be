package import FastableCore
package import FoundationEssentials

/// What can be had again of a node's disk, and in which order it goes: first what is cheapest to lose, the one that rests longest first.
package struct DiskReclaim: Sendable {
    package enum Step: Sendable, Equatable {
        case image(String)
        case cache(ProjectID)
    }

    package struct Image: Sendable, Equatable {
        package var name: String
        package var source: String
        package var lastUsed: Date

        package init(name: String, source: String, lastUsed: Date) {
            self.name = name
            self.source = source
            self.lastUsed = lastUsed
        }
    }

    package struct Cache: Sendable, Equatable {
        package var project: ProjectID
        /// Since when the project has had no container.
        package var restingSince: Date

        package init(project: ProjectID, restingSince: Date) {
            self.project = project
            self.restingSince = restingSince
        }
    }

    package var images: [Image]
    package var caches: [Cache]

    package init(images: [Image], caches: [Cache]) {
        self.images = images
        self.caches = caches
    }

    /// - Parameters:
    ///   - inUse: images that may not go, of the whole fleet; `nil` when nobody has said so lately, and then none goes.
    ///   - usedHere: those of projects on this node.
    ///   - isPatient: caches wait for that word, as long as images could go instead of them.
    package func steps(inUse: Set<String>?, usedHere: Set<String>, isPatient: Bool, now: Date) -> [Step] {
        let candidates = images.filter { isDroppable($0, now) && !usedHere.contains($0.name) }
        if inUse == nil, isPatient, !candidates.isEmpty { return [] }
        let droppable = candidates.filter { image in inUse.map { !$0.contains(image.name) } ?? false }
        return droppable.sorted { ($0.lastUsed, $0.name) < ($1.lastUsed, $1.name) }.map { .image($0.name) }
            + caches.sorted { ($0.restingSince, $0.project) < ($1.restingSince, $1.project) }.map { .cache($0.project) }
    }

    /// Only a registry gives an image again. One that was added or used a moment ago is about to be used.
    private func isDroppable(_ image: Image, _ now: Date) -> Bool {
        guard case .registry = try? ImageSource(image.source) else { return false }
        return now.timeIntervalSince(image.lastUsed) >= Double(Limits.imageRestSeconds)
    }
}
