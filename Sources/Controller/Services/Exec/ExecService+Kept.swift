import ControllerDomain
import ControllerStore
import FastableCore

/// Commands whose node has given their project up: how they ended is known, and what they printed is gone.
extension ExecService {
    /// How an earlier attempt ended there; `nil` when there is nothing to be known.
    func keptOutcome(of attempt: OperationContext.Attempt?, in project: Project) async throws -> Outcome? {
        guard let attempt, attempt.kind != .first else { return nil }
        do {
            let handle = try await store.exec(attempt.exec, in: project.workspace)
            guard handle.project == project.id, let result = handle.result else { return nil }
            return Outcome(
                result: result, stdout: CappedOutput(limit: Limits.toolOutputBytes),
                stderr: CappedOutput(limit: Limits.toolOutputBytes),
                missingBytes: result.stdoutBytes + result.stderrBytes)
        } catch let error as FastableError where error.code == .notFound {
            return nil
        }
    }

    static func kept(_ result: ExecResult) -> ExecStatus {
        ExecStatus(
            exec: result.exec, running: false, result: result, stdoutBytes: result.stdoutBytes,
            stderrBytes: result.stderrBytes)
    }

    /// For whoever wants what it printed.
    static func outputIsGone(_ result: ExecResult) -> FastableError {
        FastableError(
            .gone,
            "The command \(result.exec) has ended. What it printed was on a node that its project has left since, and is gone.",
            details: ["execId": .string(result.exec.description)])
    }
}
