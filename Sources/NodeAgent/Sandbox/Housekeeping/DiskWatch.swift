import FastableCore
import Logging
import Synchronization

/// The disk with the node's state: how short it is of space, and what was dropped for that.
final class DiskWatch: Sendable {
    /// What would take space, and is refused when there is too little.
    enum Wish { case start, project, image }

    private struct State {
        var machine: DiskPressureStateMachine
        var reclaimed = DiskReclaimed()
        /// What the controller said last of images that may not go.
        var inUse: (images: Set<String>, at: ContinuousClock.Instant)?
        /// Since when something has to be dropped.
        var since: ContinuousClock.Instant?
        /// That there is nothing left to drop was said.
        var isAtItsEnd = false
    }

    private let path: String
    private let logger: Logger
    private let state: Mutex<State>

    init(path: String, percents: DiskPressurePercents, logger: Logger) {
        self.path = path
        self.logger = logger
        state = Mutex(State(machine: DiskPressureStateMachine(percents)))
    }

    var pressure: DiskPressure { state.withLock { $0.machine.level } }
    var reclaimed: DiskReclaimed { state.withLock { $0.reclaimed } }

    /// Looks how much is free. Each change of the level is logged once. Blocks.
    @discardableResult
    func look() -> DiskPressure {
        guard let space = DiskSpace(path) else { return pressure }
        let (change, machine) = state.withLock { state in
            let change = state.machine.looked(space)
            if state.machine.level < .reclaiming {
                (state.isAtItsEnd, state.since) = (false, nil)
            } else if state.since == nil {
                state.since = .now
            }
            return (change, state.machine)
        }
        if let change { tell(change, machine, space) }
        return machine.level
    }

    private func tell(
        _ change: DiskPressureStateMachine.Change, _ machine: DiskPressureStateMachine, _ space: DiskSpace
    ) {
        let facts: Logger.Metadata = [
            "disk": "\(path)", "freeBytes": "\(space.freeBytes)",
            "freeFiles": "\(space.freeInodes.map(String.init) ?? "-")", "before": "\(change.from.rawValue)",
        ]
        switch change.to {
        case .none: logger.notice("the disk has space again", metadata: facts)
        case .low: logger.warning("the disk is getting full", metadata: facts)
        case .reclaiming:
            logger.warning(
                "the disk is getting full: what can be had again is dropped, and no new project is placed here",
                metadata: facts)
        case .refusing:
            logger.warning(
                "the disk is nearly full: no container is started until there is space; those that run go on",
                metadata: facts.merging(["shortage": "\(machine.shortage(.refusing, space))"]) { $1 })
        }
    }

    /// Throws `unavailable` when there is too little space for something new. Blocks.
    func check(_ wish: Wish) throws(FastableError) {
        guard look() == .refusing, let space = DiskSpace(path) else { return }
        let shortage = state.withLock { $0.machine.shortage(.refusing, space) }
        let refused =
            switch wish {
            case .start: "no container is started"
            case .project: "no new project is taken"
            case .image: "no image is added"
            }
        throw FastableError(
            .unavailable,
            "The node's disk is nearly full, so \(refused): \(shortage). Delete files with fs.delete, or projects "
                + "that are not needed, or ask the operator to free space on the node. What runs goes on.",
            details: ["freeBytes": .integer(Int64(space.freeBytes))], retryAfterSeconds: 60)
    }

    // MARK: what is dropped

    func heard(imagesInUse images: [String], asked: ContinuousClock.Instant) {
        state.withLock { $0.inUse = (Set(images), asked) }
    }

    /// The images that may not be dropped; `nil` when nobody said so lately.
    func imagesInUse(now: ContinuousClock.Instant) -> Set<String>? {
        state.withLock { state in
            guard let inUse = state.inUse, now - inUse.at < .seconds(Limits.imagesInUseSeconds) else { return nil }
            return inUse.images
        }
    }

    /// The controller may still say which images can go before anything else does.
    func isPatient(at now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            guard state.machine.level == .reclaiming, let since = state.since else { return false }
            return now - since < .seconds(Limits.imagesInUseSeconds)
        }
    }

    func dropped(image: String) {
        logger.notice("an image that nobody uses was dropped, since the disk is full", metadata: ["image": "\(image)"])
        state.withLock { state in
            state.reclaimed.images = Array((state.reclaimed.images + [image]).suffix(Limits.droppedImagesTold))
        }
    }

    func droppedCache(of project: ProjectID) {
        logger.notice(
            "the cache of a project that rests was dropped, since the disk is full",
            metadata: ["project": "\(project)"])
        state.withLock { $0.reclaimed.caches += 1 }
    }

    /// Nothing more can be dropped: told once for each time.
    func isAtItsEnd() {
        let isNew = state.withLock { state in
            defer { state.isAtItsEnd = true }
            return !state.isAtItsEnd
        }
        guard isNew else { return }
        logger.warning(
            "nothing is left that could be dropped: delete or move projects, or give the node a larger disk",
            metadata: ["disk": "\(path)"])
    }
}
