import ControllerDomain
import ControllerFleet
import FastableCore
import FastableWire
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat

/// Starting containers.
extension ProjectService {
    /// What the node is asked to run, with the place from which it can have the image.
    func spec(of project: Project) async throws -> ContainerSpec {
        var spec = project.containerSpec
        spec.pull = try await placement.references.reference(for: project.image)
        return spec
    }

    /// How long a node may take for a start, if everything takes as long as it may.
    static func startSeconds(mayPull: Bool) -> Int {
        Limits.startQueueSeconds + Limits.containerStartSeconds
            + (mayPull ? Limits.imageAddSeconds + Limits.hostCommandSeconds : 0)
    }

    /// Makes the container unless it runs, and tells how it is.
    ///
    /// - Parameter listener: told how far the start is.
    func ensure(
        _ placed: PlacedProject, request: RequestID,
        telling listener: (@Sendable (OperationEvent) async throws -> Void)? = nil
    ) async throws -> ContainerStatus {
        try await kills.checkStart(placed.project)
        let admission = try await capacity.admit(placed.project, on: placed.client.node)
        let wish = ContainerEnsure(
            container: try await spec(of: placed.project), wantsStart: listener == nil ? nil : true)
        let timeout = Duration.seconds(
            Self.startSeconds(mayPull: wish.container.pull != nil) + Limits.nodeAnswerSeconds)
        let status: ContainerStatus
        if let listener {
            status = try await follow(wish, on: placed.client, request, timeout, listener)
        } else {
            status = try await placed.client.call(
                .containerEnsure, wish, returning: ContainerStatus.self, request: request, timeout: timeout)
        }
        admission.release(status)
        return status
    }

    private func follow(
        _ wish: ContainerEnsure, on client: any NodeClient, _ request: RequestID, _ timeout: Duration,
        _ listener: @Sendable (OperationEvent) async throws -> Void
    ) async throws -> ContainerStatus {
        let stream = try await client.open(.containerEnsure, wish, request: request)
        let deadline = stream.schedule(after: timeout) {
            stream.reset(FastableError(.timeout, "The node did not start the container within \(timeout). Try again."))
        }
        defer { deadline.cancel() }
        do {
            while let event = try await stream.next() {
                guard case .message(let payload) = event else { continue }
                switch try JSON.decode(ContainerEnsureAnswer.self, from: Data(buffer: payload)) {
                case .reply(let reply): return try reply.get()
                case .starting(let progress):
                    try await listener(.progress(message: progress.message, fraction: progress.fraction))
                }
            }
            throw FastableError(.internal, "The node ended the start without an answer. Try again.")
        } catch {
            // The node stops waiting for it.
            stream.reset(FastableError.unexpected(error, doing: "following the start"))
            throw error
        }
    }
}
