import FastableCore
import NodeSandbox

/// Suspending, waking, stopping, and what is told of it.
extension NodeRouter {
    func suspend(_ call: NodeCall) async throws {
        try await call.answer { (wish: ContainerSuspend) in
            try await sandboxes.suspend(wish.project, force: wish.force)
            return try await status(of: wish.project)
        }
        await reporter.reportNow()
    }

    func resume(_ call: NodeCall) async throws {
        try await call.answer { (project: ProjectReference) in
            try await sandboxes.awake(project.project)
            return try await status(of: project.project)
        }
        await reporter.reportNow()
    }

    func stop(_ call: NodeCall) async throws {
        try await call.answer { (wish: ContainerStop) in
            try await sandboxes.stop(wish)
            return try await status(of: wish.project)
        }
        await reporter.reportNow()
    }

    func explain(_ call: NodeCall) async throws {
        try await call.answer { (project: ProjectReference) in try await sandboxes.explain(project.project) }
    }

    func keepAwake(_ call: NodeCall) async throws {
        try await call.answer { (wish: ContainerKeepAwake) in
            try await sandboxes.keepAwake(wish.project, seconds: wish.seconds, reason: wish.reason)
            return try await sandboxes.explain(wish.project)
        }
    }

    func setPolicy(_ call: NodeCall) async throws {
        try await call.answer { (wish: ContainerPolicy) in
            try await sandboxes.setSettings(wish)
            return Empty()
        }
    }

    func setLimits(_ call: NodeCall) async throws {
        try await call.answer { (wish: ContainerLimits) in
            try await sandboxes.setLimits(wish.limits.validated(), revision: wish.revision, of: wish.project)
            return try await status(of: wish.project)
        }
    }
}
