import FastableCore
import FoundationEssentials
import NodeLinux
import Synchronization

/// The kill switches of this node, for whoever is about to start something or to let packets through; and their copy on disk.
final class SwitchBoard: Sendable {
    private struct Known {
        var workspace: WorkspaceID
        var interface: String
    }

    private struct State {
        var book: NodeSwitchBook
        var projects: [ProjectID: Known] = [:]
        /// What the disk has; `nil` until it was written or when it could not be.
        var stored: NodeSwitchBook.Stored?
    }

    private let state: Mutex<State>
    /// Taken while the file is written, so that an older content never comes after a newer one.
    private let file = Mutex(())
    private let path: String
    private let interfaces: [String]

    /// Reads what an earlier run of the daemon was told, and what somebody set on the host. Blocks.
    ///
    /// A damaged file of the controller's switches counts as none: the controller sends them before anything else.
    init(paths: NodePaths, block: InstanceBlock) {
        path = paths.switches
        // All that containers of the instance can have: a cut of everything reaches also those that nobody knows yet.
        interfaces = (0..<Limits.projectsPerNode).compactMap { try? block.slot($0).interface }
        var stored = NodeSwitchBook().stored
        if let bytes = try? SmallFile.read(path, atMost: Self.fileBytes),
            let read = try? JSON.decode(NodeSwitchBook.Stored.self, from: Data(bytes))
        {
            stored = read
        }
        let book = NodeSwitchBook(stored, local: LocalSwitch(paths: paths).current)
        state = Mutex(State(book: book, stored: book.stored))
    }

    private static let fileBytes = 4 * 1024 * 1024

    // MARK: what changes

    func change(_ body: (inout NodeSwitchBook) -> Void) { state.withLock { body(&$0.book) } }

    /// Stores what is in force, unless the disk has it. `false` when the disk does not take it.
    func store() async -> Bool {
        if state.withLock({ $0.stored == $0.book.stored }) { return true }
        return await write { $0 }
    }

    /// Notes that a kill needs not be done again, on disk before anything may start that it would end.
    func storeCarriedOut(_ id: KillSwitchID) async {
        _ = await write { book in
            var book = book
            book.wasCarriedOut(id)
            return book
        }
        change { $0.wasCarriedOut(id) }
    }

    private func write(_ content: @escaping @Sendable (NodeSwitchBook) -> NodeSwitchBook) async -> Bool {
        do {
            try await BlockingPool.shared.run { [self] in
                try file.withLock { _ in
                    let stored = content(state.withLock { $0.book }).stored
                    try AtomicFile.write(path, Array(try JSON.encode(stored)))
                    state.withLock { $0.stored = stored }
                }
            }
            return true
        } catch {
            state.withLock { $0.stored = nil }
            return false
        }
    }

    /// What a project is called in the kernel, before it gets a container.
    func know(_ project: ProjectID, of workspace: WorkspaceID, interface: String) {
        state.withLock { $0.projects[project] = Known(workspace: workspace, interface: interface) }
    }

    func forget(_ project: ProjectID) { state.withLock { $0.projects[project] = nil } }

    // MARK: what holds

    var pending: [KillSwitch] { state.withLock { $0.book.pending } }

    var cutsSomeNetwork: Bool { state.withLock { $0.book.cutsSomeNetwork } }

    var local: KillSwitch? { state.withLock { $0.book.local } }

    var nodeState: NodeSwitchState {
        state.withLock { state in
            var answer = state.book.state
            answer.isStored = state.stored != nil
            return answer
        }
    }

    /// Throws `unavailable` when a switch lets the project start nothing.
    func checkStart(_ project: ProjectID, of workspace: WorkspaceID) throws(FastableError) {
        guard let held = state.withLock({ $0.book.refusal(of: project, in: workspace) }) else { return }
        throw held.refusal
    }

    /// Whether it is this switch that takes the project's network.
    func cutsNetwork(of project: ProjectID, in workspace: WorkspaceID, by id: KillSwitchID?) -> Bool {
        state.withLock { state in
            state.book.active.contains { held in
                held.id == id && held.mode == .network && NodeSwitchBook.covers(held, project, workspace)
            }
        }
    }

    /// The interfaces through which nothing may pass.
    var cutInterfaces: Set<String> {
        state.withLock { state in
            if state.book.cutsEveryNetwork { return Set(interfaces) }
            guard state.book.cutsSomeNetwork else { return [] }
            let cut = state.projects.filter { state.book.cutsNetwork(of: $0.key, in: $0.value.workspace) }
            return Set(cut.values.map(\.interface))
        }
    }
}
