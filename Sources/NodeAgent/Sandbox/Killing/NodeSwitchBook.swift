package import FastableCore

/// Which kill switches are in force on this node, and which kills are still to be carried out. Pure.
///
/// The controller's switches come as a whole set with a version: the newest replaces all of them. The switch of the host itself
/// stands beside them, and neither changes the other.
package struct NodeSwitchBook: Sendable, Equatable {
    /// What the controller sent last.
    package private(set) var given = KillSwitchSet()
    package private(set) var local: KillSwitch?
    /// Kills that were carried out, as long as their switch is on: a set that comes again ends nothing twice.
    package private(set) var carriedOut: Set<KillSwitchID> = []

    package init() {}

    /// What survives the daemon. The local switch has a file of its own, which also others write.
    package struct Stored: Codable, Sendable, Equatable {
        package var set: KillSwitchSet
        package var carriedOut: [KillSwitchID]

        package init(set: KillSwitchSet, carriedOut: [KillSwitchID]) {
            self.set = set
            self.carriedOut = carriedOut
        }
    }

    package init(_ stored: Stored, local: KillSwitch?) {
        given = stored.set
        self.local = local
        carriedOut = Set(stored.carriedOut)
        forget()
    }

    package var stored: Stored { Stored(set: given, carriedOut: carriedOut.sorted()) }

    // MARK: what happens

    /// `false` when a newer set is in force already: nothing changes then.
    @discardableResult
    package mutating func take(_ newer: KillSwitchSet) -> Bool {
        guard newer.version >= given.version else { return false }
        given = newer
        forget()
        return true
    }

    /// `nil` when nobody holds the host's own switch any more.
    package mutating func setLocal(_ local: KillSwitch?) {
        self.local = local
        forget()
    }

    /// Nothing that the switch had to end is left. Told of one that was lifted meanwhile, it changes nothing.
    package mutating func wasCarriedOut(_ id: KillSwitchID) {
        guard active.contains(where: { $0.id == id && $0.mode == .kill }) else { return }
        carriedOut.insert(id)
    }

    private mutating func forget() { carriedOut.formIntersection(active.map(\.id)) }

    // MARK: what holds

    package var active: [KillSwitch] { given.switches + [local].compactMap(\.self) }

    /// Kills that are to be carried out, oldest first.
    package var pending: [KillSwitch] { active.filter { $0.mode == .kill && !carriedOut.contains($0.id) } }

    package var state: NodeSwitchState {
        NodeSwitchState(version: given.version, pending: pending.map(\.id), local: local)
    }

    /// The switch because of which a project may start nothing. Also a kill that holds nothing does so until it is carried out, or it
    /// would end what was started after it.
    package func refusal(of project: ProjectID, in workspace: WorkspaceID) -> KillSwitch? {
        let covering = active.filter { Self.covers($0, project, workspace) }
        return covering.first(where: \.refusesStarts)
            ?? covering.first { $0.mode == .kill && !carriedOut.contains($0.id) }
    }

    package func cutsNetwork(of project: ProjectID, in workspace: WorkspaceID) -> Bool {
        active.contains { $0.mode == .network && Self.covers($0, project, workspace) }
    }

    /// Also of containers that nobody knows yet.
    package var cutsEveryNetwork: Bool {
        active.contains { $0.mode == .network && ($0.scope == .all || $0.scope.kind == .node) }
    }

    package var cutsSomeNetwork: Bool { active.contains { $0.mode == .network } }

    /// The controller sends a node no switch of another node.
    package static func covers(_ held: KillSwitch, _ project: ProjectID, _ workspace: WorkspaceID) -> Bool {
        held.scope.kind == .node || held.scope.covers(project, of: workspace, on: nil)
    }
}
