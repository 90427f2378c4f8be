package import FastableCore

/// Which container is started next: some at a time and so many a minute, the workspaces in turn, and within one in the order in which
/// they came. Pure: methods are events, results say what to do, time and free memory are handed in.
///
/// The first in line waits until the host has the memory that its start needs, and those behind it wait with it: otherwise small ones
/// would pass it for ever. A start whose turn does not come in time is refused.
package struct StartQueue: Sendable {
    package typealias Instant = ContinuousClock.Instant

    /// A container that is to be started.
    package struct Wish: Sendable, Equatable {
        package var container: ContainerID
        package var workspace: WorkspaceID
        /// What the host must have available for it.
        package var memoryBytes: Int

        package init(container: ContainerID, workspace: WorkspaceID, memoryBytes: Int) {
            self.container = container
            self.workspace = workspace
            self.memoryBytes = memoryBytes
        }
    }

    package enum Action: Sendable, Equatable {
        case start(ContainerID)
        case refuse(ContainerID, FastableError)
    }

    private struct Waiter {
        var wish: Wish
        var deadline: Instant
    }

    private struct Running {
        /// That it may still take.
        var memoryBytes: Int
        var since: Instant
    }

    private let atOnce: Int
    private var rate: StartRate
    private let waitingMost: Int
    private let longestWait: Duration
    /// Starts that are under way.
    private var running: [ContainerID: Running] = [:]
    /// How long starts take lately.
    private var usualTime: Duration?
    private var lines: [WorkspaceID: [Waiter]] = [:]
    /// The workspaces that wait, the next one first.
    private var turns: [WorkspaceID] = []
    /// The first in line was kept back by the host's memory at the last look.
    private var lacksMemory = false

    package init(
        atOnce: Int, perMinute: Int = Limits.startsPerMinute, waitingMost: Int = Limits.startsWaiting,
        longestWait: Duration = .seconds(Limits.startQueueSeconds)
    ) {
        self.atOnce = atOnce
        rate = StartRate(perMinute: perMinute)
        self.waitingMost = waitingMost
        self.longestWait = longestWait
    }

    package var runningCount: Int { running.count }
    package var waitingCount: Int { lines.values.reduce(0) { $0 + $1.count } }

    // MARK: events

    package mutating func arrive(_ wish: Wish, availableBytes: Int?, now: Instant) -> [Action] {
        guard waitingCount < waitingMost else { return [.refuse(wish.container, Self.full(waitingMost))] }
        if lines[wish.workspace] == nil { turns.append(wish.workspace) }
        lines[wish.workspace, default: []].append(Waiter(wish: wish, deadline: now + longestWait))
        return advance(availableBytes, now)
    }

    /// Its start has ended, or nobody waits for it any more.
    package mutating func leave(_ container: ContainerID, availableBytes: Int?, now: Instant) -> [Action] {
        if let ended = running.removeValue(forKey: container) {
            let time = now - ended.since
            // The last few count most.
            usualTime = usualTime.map { $0 + (time - $0) / 8 } ?? time
        } else {
            for workspace in turns { remove(container, of: workspace) }
        }
        return advance(availableBytes, now)
    }

    /// Time has passed, and the host's memory may be another.
    package mutating func look(availableBytes: Int?, now: Instant) -> [Action] { advance(availableBytes, now) }

    // MARK: what is told

    /// How many come before it and it itself; `nil` when it does not wait.
    package func place(of container: ContainerID, now: Instant) -> StartPlace? {
        for (turn, workspace) in turns.enumerated() {
            guard let line = lines[workspace], let index = line.firstIndex(where: { $0.wish.container == container })
            else { continue }
            var position = index + 1
            for (other, name) in turns.enumerated() where other != turn {
                // Each of the others has had so many turns by then.
                position += min(lines[name]?.count ?? 0, other < turn ? index + 1 : index)
            }
            return StartPlace(
                position: position, waiting: waitingCount, lacksMemory: lacksMemory,
                expectedSeconds: expectedWait(for: position, now).map { max(1, Int(($0 / .seconds(1)).rounded(.up))) })
        }
        return nil
    }

    /// By the pace, and by how long starts take lately; `nil` while none has ended, and while the host's memory decides.
    private func expectedWait(for position: Int, _ now: Instant) -> Duration? {
        guard !lacksMemory else { return nil }
        let paced = rate.wait(for: position, now: now)
        let ends = running.count + position - atOnce
        guard ends > 0 else { return paced }
        return usualTime.map { max(paced, $0 * ends / atOnce) }
    }

    // MARK: decisions

    private mutating func advance(_ availableBytes: Int?, _ now: Instant) -> [Action] {
        var actions = overdue(now)
        lacksMemory = false
        while running.count < atOnce, let workspace = turns.first, let next = lines[workspace]?.first {
            guard rate.wait(for: 1, now: now) == .zero else { break }
            if let availableBytes {
                let taken = running.values.reduce(0) { $0 + $1.memoryBytes }
                guard availableBytes - taken >= next.wish.memoryBytes else {
                    lacksMemory = true
                    break
                }
            }
            remove(next.wish.container, of: workspace)
            // The workspace is behind the others now.
            if lines[workspace] != nil {
                turns.removeFirst()
                turns.append(workspace)
            }
            rate.take(now: now)
            running[next.wish.container] = Running(memoryBytes: next.wish.memoryBytes, since: now)
            actions.append(.start(next.wish.container))
        }
        return actions
    }

    private mutating func overdue(_ now: Instant) -> [Action] {
        var actions: [Action] = []
        for workspace in turns {
            for waiter in lines[workspace] ?? [] where waiter.deadline <= now {
                remove(waiter.wish.container, of: workspace)
                actions.append(.refuse(waiter.wish.container, lacksMemory ? Self.noMemory(waiter.wish) : Self.late))
            }
        }
        return actions
    }

    private mutating func remove(_ container: ContainerID, of workspace: WorkspaceID) {
        lines[workspace]?.removeAll { $0.wish.container == container }
        guard lines[workspace]?.isEmpty == true else { return }
        lines[workspace] = nil
        turns.removeAll { $0 == workspace }
    }

    private static func full(_ count: Int) -> FastableError {
        FastableError(
            .unavailable, "\(count) containers wait to be started on this node already. Try again in a while.",
            details: ["waiting": .integer(Int64(count))], retryAfterSeconds: Limits.startRetrySeconds)
    }

    private static let late = FastableError(
        .unavailable,
        "So many containers are being started on this node that it was not this one's turn within \(Limits.startQueueSeconds) seconds. Try "
            + "again in a while.", retryAfterSeconds: Limits.startRetrySeconds)

    private static func noMemory(_ wish: Wish) -> FastableError {
        FastableError(
            .unavailable,
            "The node does not have the memory to start the container: \(wish.memoryBytes / (1024 * 1024)) MiB must be available. Suspend or "
                + "stop other containers, or ask the operator.",
            details: ["neededBytes": .integer(Int64(wish.memoryBytes))], retryAfterSeconds: Limits.startRetrySeconds)
    }
}
