public import FastableCore
public import FoundationEssentials

/// A kill switch as the controller keeps it.
public struct KillSwitchRecord: Sendable, Equatable {
    public var held: KillSwitch
    /// Whose it is: `WorkspaceID.system` for a node or for all.
    public var workspace: WorkspaceID
    /// Who switched it on.
    public var token: TokenID
    /// Of the set that it came with.
    public var version: UInt64
    /// Nodes that it concerns and that have not said yet that it is carried out.
    public var awaited: [NodeID]
    public var liftedAt: Date?
    public var liftedBy: String?

    public init(
        held: KillSwitch, workspace: WorkspaceID, token: TokenID, version: UInt64 = 0, awaited: [NodeID],
        liftedAt: Date? = nil, liftedBy: String? = nil
    ) {
        self.held = held
        self.workspace = workspace
        self.token = token
        self.version = version
        self.awaited = awaited
        self.liftedAt = liftedAt
        self.liftedBy = liftedBy
    }
}

/// The switches that are on, and what each node must still be told. Pure.
///
/// Every change raises the version, with the clock as its floor: a controller that lost its last changes is still the newer one after
/// its restart, and what it then sends replaces what nodes have.
public struct KillSwitchBook: Sendable, Equatable {
    public private(set) var version: UInt64
    private var records: [KillSwitchID: KillSwitchRecord]
    /// The oldest version that each node may have.
    private var due: [NodeID: UInt64] = [:]
    /// The same for all: a node may get a project of the scope at any time, and with it what the switch asks.
    private var dueEverywhere: UInt64 = 0

    public init(_ stored: [KillSwitchRecord], now: UInt64) {
        records = Dictionary(stored.map { ($0.held.id, $0) }) { first, _ in first }
        version = max(now, stored.map(\.version).max() ?? 0)
    }

    // MARK: what happens

    /// Switches on, and gives the record with its version.
    ///
    /// - Throws: `limit` when too many are on.
    public mutating func engage(_ record: KillSwitchRecord, now: UInt64) throws(FastableError) -> KillSwitchRecord {
        try checkRoom(for: record)
        var record = record
        record.version = raise(now, for: record.awaited)
        if record.held.scope.kind != .node { dueEverywhere = version }
        records[record.held.id] = record
        return record
    }

    /// Takes a switch out; `concerned` must hear of it.
    public mutating func lift(_ id: KillSwitchID, concerned: [NodeID], now: UInt64) {
        guard let lifted = records.removeValue(forKey: id) else { return }
        _ = raise(now, for: concerned)
        if lifted.held.scope.kind != .node { dueEverywhere = version }
    }

    /// What a node says of itself. Gives the records that it has changed; one that is over is no longer in the book.
    public mutating func heard(_ node: NodeID, _ state: NodeSwitchState) -> [KillSwitchRecord] {
        var changed: [KillSwitchRecord] = []
        for (id, record) in records
        where record.awaited.contains(node) && record.version <= state.version && !state.pending.contains(id) {
            var record = record
            record.awaited.removeAll { $0 == node }
            records[id] = isOver(record) ? nil : record
            changed.append(record)
        }
        return changed
    }

    /// A removed node answers nobody any more.
    public mutating func forget(_ node: NodeID) -> [KillSwitchRecord] {
        due[node] = nil
        return heard(node, NodeSwitchState(version: .max, pending: [], local: nil))
    }

    public func isOver(_ record: KillSwitchRecord) -> Bool { record.held.isOnce && record.awaited.isEmpty }

    private mutating func raise(_ now: UInt64, for nodes: [NodeID]) -> UInt64 {
        version = max(version + 1, now)
        for node in nodes { due[node] = version }
        return version
    }

    private func checkRoom(for record: KillSwitchRecord) throws(FastableError) {
        let isWorkspaces = record.held.owner == .workspace
        let own = records.values.filter { $0.held.owner == .workspace && $0.workspace == record.workspace }.count
        let all = records.values.filter { $0.held.owner == .workspace }.count
        // Half of the room is the operators' alone.
        guard
            isWorkspaces
                ? own < Limits.killSwitchesPerWorkspace && all < Limits.killSwitches / 2
                : records.count < Limits.killSwitches
        else {
            throw FastableError(
                .limit, "Too many kill switches are on. Lift some: `fastable kill list` shows them.",
                details: ["limit": .integer(Int64(Limits.killSwitches))])
        }
    }

    // MARK: what holds

    /// Oldest first.
    public var active: [KillSwitchRecord] {
        records.values.sorted { ($0.version, $0.held.id) < ($1.version, $1.held.id) }
    }

    public subscript(id: KillSwitchID) -> KillSwitchRecord? { records[id] }

    /// A switch that holds the same already.
    public func same(as wanted: KillSwitch) -> KillSwitchRecord? {
        guard !wanted.isOnce else { return nil }
        return active.first {
            $0.held.scope == wanted.scope && $0.held.mode == wanted.mode && $0.held.holds == wanted.holds
                && $0.held.owner == wanted.owner
        }
    }

    /// What a node is sent: nothing that is about another node.
    public func set(for node: NodeID) -> KillSwitchSet {
        KillSwitchSet(
            version: version,
            switches: active.map(\.held).filter { $0.scope.kind != .node || $0.scope == .node(node) })
    }

    /// Whether a node has to be sent the set again.
    public func isBehind(_ node: NodeID, _ state: NodeSwitchState) -> Bool {
        state.version < max(due[node] ?? 0, dueEverywhere)
    }

    /// The switch because of which a project may start nothing.
    public func refusal(of project: ProjectID, in workspace: WorkspaceID, on node: NodeID?) -> KillSwitch? {
        active.lazy.map(\.held).first { $0.refusesStarts && $0.scope.covers(project, of: workspace, on: node) }
    }

    /// Nodes that no project should be placed on.
    public var heldNodes: Set<NodeID> {
        Set(
            records.values.compactMap { record in
                guard record.held.refusesStarts, case .node(let node) = record.held.scope else { return nil }
                return node
            })
    }
}
