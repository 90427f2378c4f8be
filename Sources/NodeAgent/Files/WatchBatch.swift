package import FastableCore

/// Joins changes that happen at about the same time: what a reader would see if it looked before and after them.
package struct WatchBatch {
    private enum Change {
        case created, modified, deleted
        case moved(from: [UInt8], isModified: Bool)
    }

    private var order: [[UInt8]] = []
    private var changes: [[UInt8]: (change: Change, isDirectory: Bool)] = [:]
    private var events: [FileWatchEvent] = []
    private let name: ([UInt8]) -> String

    /// - Parameter name: how a path below the watched directory is told.
    package init(name: @escaping ([UInt8]) -> String) { self.name = name }

    package var count: Int { order.count + events.count }

    package mutating func created(_ path: [UInt8], isDirectory: Bool) {
        switch changes[path]?.change {
        case nil: put(path, .created, isDirectory)
        case .deleted: put(path, isDirectory ? .created : .modified, isDirectory)
        case .created, .modified, .moved: break
        }
    }

    package mutating func modified(_ path: [UInt8], isDirectory: Bool) {
        switch changes[path]?.change {
        case nil, .deleted: put(path, .modified, isDirectory)
        case .moved(let from, _): put(path, .moved(from: from, isModified: true), isDirectory)
        case .created, .modified: break
        }
    }

    package mutating func deleted(_ path: [UInt8], isDirectory: Bool) {
        switch changes[path]?.change {
        case .created: remove(path)
        case .moved(let from, _):
            put(path, .deleted, isDirectory)
            put(from, .deleted, isDirectory)
        case nil, .modified, .deleted: put(path, .deleted, isDirectory)
        }
    }

    package mutating func moved(_ from: [UInt8], to path: [UInt8], isDirectory: Bool) {
        // What happened below a directory keeps its place before the move.
        if isDirectory { seal() }
        let before = changes[from]?.change
        remove(from)
        switch before {
        // As programs save: a new file is written beside the old one and takes its place.
        case .created: put(path, isDirectory ? .created : .modified, isDirectory)
        case .moved(let origin, let isModified):
            put(path, .moved(from: origin, isModified: isModified), isDirectory)
        case .modified: put(path, .moved(from: from, isModified: true), isDirectory)
        case nil, .deleted: put(path, .moved(from: from, isModified: false), isDirectory)
        }
        if isDirectory { seal() }
    }

    /// Something else has its place now.
    package mutating func replaced(_ path: [UInt8], isDirectory: Bool) {
        guard !isDirectory else {
            deleted(path, isDirectory: true)
            // Joined, they would not tell that what was in the old one is gone.
            seal()
            return created(path, isDirectory: true)
        }
        if case .created? = changes[path]?.change {
            put(path, .modified, false)
        } else {
            modified(path, isDirectory: false)
        }
    }

    /// Everything before it is of no use any more.
    package mutating func rescan(reason: String) {
        order = []
        changes = [:]
        events = [FileWatchEvent(kind: .rescan, path: name([]), isDirectory: true, reason: reason)]
    }

    /// What there is to tell; nothing of it comes again.
    package mutating func take() -> [FileWatchEvent] {
        seal()
        defer { events = [] }
        return events
    }

    private mutating func put(_ path: [UInt8], _ change: Change, _ isDirectory: Bool) {
        if changes.updateValue((change, isDirectory), forKey: path) == nil { order.append(path) }
    }

    /// Its place in the order stays and is passed over.
    private mutating func remove(_ path: [UInt8]) { changes[path] = nil }

    private mutating func seal() {
        for path in order {
            guard let (change, isDirectory) = changes.removeValue(forKey: path) else { continue }
            switch change {
            case .created: tell(.created, path, isDirectory)
            case .modified: tell(.modified, path, isDirectory)
            case .deleted: tell(.deleted, path, isDirectory)
            case .moved(let from, let isModified):
                tell(.moved, path, isDirectory, from: from)
                if isModified { tell(.modified, path, isDirectory) }
            }
        }
        order = []
    }

    private mutating func tell(
        _ kind: FileWatchEvent.Kind, _ path: [UInt8], _ isDirectory: Bool, from: [UInt8]? = nil
    ) {
        events.append(
            FileWatchEvent(kind: kind, path: name(path), from: from.map(name), isDirectory: isDirectory))
    }
}
