import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials

/// Which nodes and containers a kill switch concerns, as far as the controller knows.
extension KillService {
    /// Nodes that must hear of it. Others hear of it when they connect, and nothing of the scope starts on them before: it is
    /// refused here.
    func concerned(_ scope: KillScope, of workspace: WorkspaceID) async throws -> [NodeID] {
        switch scope {
        case .exec(let exec, _): return [try await store.exec(exec, in: workspace).node]
        case .project(let project):
            do {
                return [try await store.project(.id(project), in: workspace).node].compactMap(\.self)
            } catch let error as FastableError where error.code == .notFound || error.code == .gone {
                return []
            }
        case .workspace(let workspace): return Set(try await projects(of: workspace).values.compactMap(\.self)).sorted()
        case .node(let node): return [node]
        case .all: return try await store.nodes().map(\.id)
        }
    }

    /// The containers that are there by the last reports of the nodes.
    func containers(in scope: KillScope, of workspace: WorkspaceID) async throws -> [KillTarget] {
        let connected = nodes.connectedNodes()
        let all = connected.flatMap { node in
            node.containers.filter { $0.container != nil }.map { KillTarget(node: node.id, status: $0) }
        }
        switch scope {
        case .exec(_, let project), .project(let project): return all.filter { $0.status.project == project }
        case .workspace(let workspace):
            let own = try await projects(of: workspace)
            return all.filter { own[$0.status.project] != nil }
        case .node(let node): return all.filter { $0.node == node }
        case .all: return all
        }
    }

    struct KillTarget: Sendable {
        var node: NodeID
        var status: ContainerStatus
    }

    func nodeNames() async throws -> [NodeID: String] {
        Dictionary(try await store.nodes().map { ($0.id, $0.name) }) { first, _ in first }
    }

    private func projects(of workspace: WorkspaceID) async throws -> [ProjectID: NodeID?] {
        var found: [ProjectID: NodeID?] = [:]
        var cursor: String?
        repeat {
            let page = try await store.projects(in: workspace, after: cursor, limit: Limits.pageRows)
            for project in page.projects { found.updateValue(project.node, forKey: project.id) }
            cursor = page.next
        } while cursor != nil
        return found
    }

    // MARK: idle containers

    struct Swept: Sendable {
        var node: NodeID
        var result: Result<IdleSweepResult, FastableError>
    }

    /// Asks all nodes to give back what nobody has used for so long.
    func sweepIdle(minutes: Int, request: RequestID) async throws -> [Swept] {
        let known = try await store.nodes().map(\.id)
        return await withTaskGroup(of: Swept.self) { group in
            for node in known {
                group.addTask {
                    do {
                        let result = try await self.nodes.client(for: node).call(
                            .idleSweep, IdleSweep(idleSeconds: minutes * 60), returning: IdleSweepResult.self,
                            request: request, timeout: .seconds(Limits.nodeAnswerSeconds))
                        return Swept(node: node, result: .success(result))
                    } catch {
                        return Swept(
                            node: node, result: .failure(FastableError.unexpected(error, doing: "asking a node")))
                    }
                }
            }
            var all: [Swept] = []
            for await one in group { all.append(one) }
            return all.sorted { $0.node < $1.node }
        }
    }
}
