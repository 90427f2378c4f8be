public import FastableCore

/// Why a node cannot take a project.
public enum PlacementFilter: Sendable, Equatable, CustomStringConvertible {
    case removed
    case cordoned
    case offline
    /// Connected, but its reports stopped.
    case silent(seconds: Double)
    case missingImage(String)
    case projects(most: Int)
    case memory(needed: Double, free: Double)
    case cpus(needed: Double, free: Double)
    case pids(needed: Double, free: Double)
    case disksPromised(needed: Double, free: Double)
    case disk(free: Double, least: Double)
    /// It is about to be full, as the node itself sees it.
    case diskPressure(DiskPressure)

    public var description: String {
        switch self {
        case .removed: "is removed"
        case .cordoned: "is cordoned"
        case .offline: "is offline"
        case .silent(let seconds): "has not reported for \(Words.decimal(seconds, places: 0)) s"
        case .missingImage(let image): "does not have the image ‘\(Words.shown(image))’"
        case .projects(let most): "has its most projects, \(most)"
        case .memory(let needed, let free):
            "has \(Words.bytes(max(0, free))) of memory left to promise, \(Words.bytes(needed)) are needed"
        case .cpus(let needed, let free):
            "has \(Words.decimal(max(0, free), places: 2)) CPUs left to promise, "
                + "\(Words.decimal(needed, places: 2)) are needed"
        case .pids(let needed, let free):
            "has \(Words.decimal(max(0, free), places: 0)) processes left to promise, "
                + "\(Words.decimal(needed, places: 0)) are needed"
        case .disksPromised(let needed, let free):
            "has \(Words.bytes(max(0, free))) of disk left to promise, \(Words.bytes(needed)) are needed"
        case .diskPressure(let level): "is short of disk space (\(level.rawValue))"
        case .disk(let free, let least): "has \(Words.bytes(free)) of free disk, \(Words.bytes(least)) is the least"
        }
    }

    /// What would help, for the answer when no node fits.
    enum Remedy: Comparable { case wait, makeRoom, addImage, uncordon, addNode }

    var remedy: Remedy {
        switch self {
        case .offline, .silent: .wait
        case .projects, .memory, .cpus, .pids, .disksPromised, .disk, .diskPressure: .makeRoom
        case .missingImage: .addImage
        case .cordoned: .uncordon
        case .removed: .addNode
        }
    }
}

/// How well a node fits: shares between 0 and 1, more is better, and their weighted sum.
public struct PlacementScore: Sendable, Equatable, CustomStringConvertible {
    /// Share of the promisable memory that stays free.
    public var memory: Double
    public var cpus: Double
    /// Share of the project slots that stays free.
    public var projects: Double
    /// 1 where the image is; elsewhere the first start pulls it.
    public var image: Double
    /// 1 where the workspace has a project already: its image and packages are in the page cache.
    public var locality: Double

    public init(memory: Double, cpus: Double, projects: Double, image: Double, locality: Double) {
        self.memory = memory
        self.cpus = cpus
        self.projects = projects
        self.image = image
        self.locality = locality
    }

    /// Memory weighs most, since it is what a host runs out of first. Pulling an image takes minutes once: a node that has it is worth
    /// some load, and not all of it.
    public static let weights = PlacementScore(memory: 0.5, cpus: 0.15, projects: 0.149, image: 0.2, locality: 0.001)

    public var total: Double {
        let weights = Self.weights
        return memory * weights.memory + cpus * weights.cpus + projects * weights.projects + image * weights.image
            + locality * weights.locality
    }

    public var description: String {
        let parts = [
            ("memory", memory), ("CPUs", cpus), ("projects", projects), ("image", image), ("locality", locality),
        ]
        return "\(Words.decimal(total, places: 3)) ("
            + parts.map { "\($0.0) \(Words.decimal($0.1, places: 3))" }.joined(separator: ", ") + ")"
    }
}

/// What placement found about one node.
public struct PlacementVerdict: Sendable, Equatable, CustomStringConvertible {
    public enum Outcome: Sendable, Equatable {
        case fits(PlacementScore)
        case filtered([PlacementFilter])
    }

    public var node: NodeID
    public var name: String
    public var outcome: Outcome

    public init(node: NodeID, name: String, outcome: Outcome) {
        self.node = node
        self.name = name
        self.outcome = outcome
    }

    /// `build-1 is cordoned, and has not reported for 80 s` or `build-1 fits: 0.83 (memory 0.9, …)`.
    public var description: String {
        switch outcome {
        case .fits(let score): "\(name) fits: \(score)" + (score.image == 0 ? ", after it has pulled the image" : "")
        case .filtered(let filters): "\(name) \(filters.map(\.description).joined(separator: ", and "))"
        }
    }
}

/// The verdict about every node: those that fit first, the best of them at the front.
public struct PlacementDecision: Sendable, Equatable {
    public let verdicts: [PlacementVerdict]

    /// The verdicts come sorted from `Placement.place`.
    init(verdicts: [PlacementVerdict]) { self.verdicts = verdicts }

    public var chosen: NodeID? {
        guard let first = verdicts.first, case .fits = first.outcome else { return nil }
        return first.node
    }

    /// One line for each node.
    public var reasons: [String] { verdicts.map(\.description) }

    /// The chosen node, or the error that says what to do so that there is one.
    public func requireNode() throws -> NodeID {
        if let chosen { return chosen }
        let explained = reasons.prefix(Self.reasonsInError).joined(separator: "; ")
        let more = reasons.count > Self.reasonsInError ? "; and \(reasons.count - Self.reasonsInError) more" : ""
        let why = verdicts.isEmpty ? "" : " \(explained)\(more)."
        switch easiestRemedy {
        case .wait:
            throw FastableError(
                .unavailable, "No node can take the project now, try again soon:\(why)", retryAfterSeconds: 5)
        case .makeRoom:
            throw FastableError(
                .limit,
                "No node has room for the project. Stop containers, delete projects, ask for less, or add a node.\(why)"
            )
        case .addImage:
            throw FastableError(
                .unprocessable, "No node has the project's image. Add it with `fastable image add`.\(why)",
                details: ["field": "image"])
        case .uncordon:
            throw FastableError(
                .unavailable,
                "Every node that could take the project is cordoned. `fastable node uncordon` frees one.\(why)")
        case .addNode:
            throw FastableError(
                .unavailable, "No node has joined yet. `fastable node token` prints what a host needs to join.\(why)")
        }
    }

    private static let reasonsInError = 5

    /// Each node needs the worst of its remedies; the easiest node decides.
    private var easiestRemedy: PlacementFilter.Remedy {
        verdicts.compactMap { verdict in
            if case .filtered(let filters) = verdict.outcome { filters.map(\.remedy).max() } else { nil }
        }.min() ?? .addNode
    }
}
