import ControllerFleet
import FastableCore
import FoundationEssentials
import Synchronization

/// The projects that a simulated node has, as far as archiving needs them.
final class SimulatedResidents: Sendable {
    struct Resident {
        var stay: Int
        /// `nil` while it has a container.
        var restingSince: Date?
    }

    private struct State {
        var residents: [ProjectID: Resident] = [:]
        var releases: [ProjectRelease] = []
        var refusal: FastableError?
        var stops: [ContainerStop] = []
        /// What something works in.
        var busy: Set<ProjectID> = []
    }

    private let state = Mutex(State())

    var residents: [ProjectID: Resident] { state.withLock { $0.residents } }
    var releases: [ProjectRelease] { state.withLock { $0.releases } }

    var stops: [ContainerStop] { state.withLock { $0.stops } }

    func work(in project: ProjectID, _ works: Bool = true) {
        state.withLock { state in
            if works { state.busy.insert(project) } else { state.busy.remove(project) }
        }
    }

    func stop(_ wish: ContainerStop) throws -> ContainerStatus {
        try state.withLock { state in
            state.stops.append(wish)
            if state.busy.contains(wish.project), wish.manner == .idle {
                throw FastableError(.conflict, "Its container is kept awake by the command exe_1.")
            }
            state.busy.remove(wish.project)
            if state.residents[wish.project]?.restingSince == nil {
                state.residents[wish.project]?.restingSince = Date()
            }
        }
        return try status(wish.project)
    }

    /// Every release ends so.
    func refuse(_ refusal: FastableError?) { state.withLock { $0.refusal = refusal } }

    func rest(_ project: ProjectID, since: Date?) { state.withLock { $0.residents[project]?.restingSince = since } }

    func take(_ spec: ContainerSpec) {
        state.withLock { state in
            if state.residents[spec.project] == nil {
                state.residents[spec.project] = Resident(stay: spec.stay ?? 0, restingSince: Date())
            }
        }
    }

    func release(_ release: ProjectRelease) throws {
        try state.withLock { state in
            state.releases.append(release)
            if let refusal = state.refusal { throw refusal }
            if let resident = state.residents[release.project], resident.stay > release.stay {
                throw FastableError(.conflict, "The project was not given up: it has come back to this node since.")
            }
            state.residents[release.project] = nil
        }
    }

    func status(_ project: ProjectID) throws -> ContainerStatus {
        guard let resident = residents[project] else { throw FastableError(.notFound, "It is not here.") }
        return ContainerStatus(
            project: project, state: resident.restingSince == nil ? .running : .stopped, container: nil,
            image: "vibn-dev", startedAt: nil, reason: "It is so.", limits: ResourceLimits(), runningExecs: 0,
            since: Date(), restingSince: resident.restingSince)
    }

    /// As the node would report them.
    var statuses: [ContainerStatus] { residents.keys.compactMap { try? status($0) } }
}

extension SimulatedNode {
    /// It has projects with this content, and gives them up.
    func houses(_ archive: SimulatedArchive) -> SimulatedResidents {
        let residents = SimulatedResidents()
        var archive = archive
        archive.facts.fingerprint = "as it was"
        has(archive)
        reply(.projectPrepare) { (spec: ContainerSpec) in
            residents.take(spec)
            return Empty()
        }
        reply(.containerEnsure) { (spec: ContainerSpec) in
            residents.take(spec)
            residents.rest(spec.project, since: nil)
            return Self.running(spec)
        }
        reply(.containerStatus) { (project: ProjectReference) in try residents.status(project.project) }
        reply(.containerStop) { (wish: ContainerStop) in try residents.stop(wish) }
        reply(.containerExplain) { (project: ProjectReference) in
            let status = try residents.status(project.project)
            return ContainerExplanation(
                project: project.project, state: status.state, since: status.since, reason: status.reason,
                text: status.reason, idleSince: nil, awakeBecause: [], next: nil, policy: .standard)
        }
        reply(.projectRelease) { (release: ProjectRelease) in
            try residents.release(release)
            return Empty()
        }
        reply(.fsRead) { (_: FileCall<FileRead>) -> Empty in
            throw FastableError(.unprocessable, "This file is only pretended.")
        }
        return residents
    }
}
