import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials
import Synchronization

/// Finds the node for a project from what the database and the links know.
final class ProjectPlacement: Sendable {
    private let store: any Store
    private let nodes: any NodeDirectory
    private let kills: KillService
    private let capacity: CapacityService
    let references: ImageReferences
    /// Images that were added lately: a node tells of them only with its next report.
    private let newImages = Mutex<[NodeID: [String: ContinuousClock.Instant]]>([:])

    init(store: any Store, nodes: any NodeDirectory, kills: KillService, capacity: CapacityService) {
        self.kills = kills
        self.capacity = capacity
        self.store = store
        self.nodes = nodes
        references = ImageReferences(store: store)
    }

    /// - Parameters:
    ///   - only: no other node is considered.
    ///   - excluded: neither are these.
    ///   - project: it goes where this says, and starts there soon.
    func decide(
        _ demand: PlacementDemand, for workspace: WorkspaceID, on only: NodeID? = nil,
        except excluded: Set<NodeID> = [], placing project: ProjectID? = nil
    ) async throws -> PlacementDecision {
        var demand = demand
        demand.isPullable = try await references.reference(for: demand.image) != nil
        let records = try await store.nodes().filter { (only == nil || $0.id == only) && !excluded.contains($0.id) }
        let loads = try await store.nodeLoads(for: workspace)
        let connected = Dictionary(nodes.connectedNodes().map { ($0.id, $0) }) { first, _ in first }
        let held = try await kills.heldNodes
        let candidates = records.map { record in
            var record = record
            // What is placed there could not start.
            let isHeld = held.contains(record.id) || connected[record.id]?.switches?.local?.refusesStarts == true
            if isHeld, record.scheduling == .ready { record.scheduling = .cordoned }
            if var facts = connected[record.id]?.facts {
                facts.images.append(contentsOf: recentImages(on: record.id))
                record.facts = facts
            }
            return PlacementCandidate(
                node: record, connected: connected[record.id] != nil, load: loads[record.id] ?? NodeLoad())
        }
        return capacity.decide { [demand] awake in
            let loaded = candidates.map { candidate in
                var candidate = candidate
                candidate.load = candidate.load.adding(awake(candidate.node.id))
                return candidate
            }
            return Placement.place(demand, on: loaded, policy: capacity.policy, now: .nowMilliseconds)
        } expecting: { [demand] node in
            project.map { CapacityBook.Start(project: $0, workspace: workspace, node: node, limits: demand.limits) }
        }
    }

    func imageAdded(_ image: String, to node: NodeID) {
        newImages.withLock { $0[node, default: [:]][image] = .now }
    }

    func imageRemoved(_ image: String, from node: NodeID) {
        newImages.withLock { $0[node]?[image] = nil }
    }

    private func recentImages(on node: NodeID) -> [String] {
        let oldest = ContinuousClock.now - .seconds(Limits.placementReportAgeSeconds)
        return newImages.withLock { images in
            images[node] = images[node]?.filter { $0.value > oldest }
            return images[node].map { Array($0.keys) } ?? []
        }
    }
}
