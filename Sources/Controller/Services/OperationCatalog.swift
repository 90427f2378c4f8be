import ControllerDomain
import FastableCore
public import FoundationEssentials

/// All operations. Every door runs them here and nowhere else.
public final class OperationCatalog: Sendable {
    /// Sorted by name.
    public let operations: [Operation]
    private let named: [String: Operation]
    private let gate: OperationGate
    private let projects: ProjectService
    private let once: OnceService

    init(_ operations: [Operation], gate: OperationGate, projects: ProjectService, once: OnceService) {
        self.operations = operations.sorted { $0.name < $1.name }
        self.named = Dictionary(operations.map { ($0.name, $0) }) { first, _ in first }
        self.gate = gate
        self.projects = projects
        self.once = once
    }

    public func operation(named name: String) -> Operation? { named[name] }

    /// Runs one operation: authorize, check the input, audit, handle. Gives the answer as JSON.
    ///
    /// Throws `FastableError` only: `not_found` for an unknown operation or project, `forbidden` without the scope, `limit`
    /// when the token has too many requests in flight, `invalid` and `unprocessable` naming the field, and the operation's own.
    ///
    /// A change with an idempotency key is done once: see `OnceService`.
    public func run(_ name: String, input: Data, context: OperationContext) async throws -> Data {
        guard let operation = named[name] else { throw unknown(name) }
        guard !operation.isRelay else { return try await run(operation, input, context) }
        return try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await run(operation, input, context)
        }
    }

    private func run(_ operation: Operation, _ input: Data, _ context: OperationContext) async throws -> Data {
        let subject = OperationGate.Subject(
            operation: operation.name, scope: operation.scope, isMutating: !operation.annotations.isReadOnly)
        let key = subject.isMutating ? context.idempotencyKey : nil
        // The intent to run a command is stored with the command's record.
        let writesIntent = key == nil && operation.recovery != .followCommand
        return try await gate.pass(subject, context, writesIntent: writesIntent) {
            let value = try JSONParser.parse(input)
            try operation.inputSchema.validate(value)
            let note = operation.note(value)
            let project = try await self.project(of: operation, value, context)
            let call = Operation.Call(input: value, project: project, context: context)
            return ((call, note), project?.id, note)
        } handle: { call, note in
            var record = AuditLog.Record(subject, context)
            record.project = call.project?.id
            record.note = note
            guard let key else {
                var call = call
                if !writesIntent { call.context.intent = record.intent }
                let answer = try await operation.handle(call)
                return (answer.output, answer.detail)
            }
            let answer = try await once.run(operation, call, key: key, record)
            return (answer.output, answer.detail)
        }
    }

    private func project(
        of operation: Operation, _ input: JSONValue, _ context: OperationContext
    ) async throws -> Project? {
        guard operation.actsOnProject, let text = input["project"]?.string else { return nil }
        return try await projects.resolve(text, for: context.principal)
    }

    private func unknown(_ name: String) -> FastableError {
        var error = FastableError.missing(.operation, name)
        let nearest = NearestName.suggestions(for: name, among: named.keys)
        if !nearest.isEmpty {
            error.message += " Did you mean \(nearest.map { "‘\($0)’" }.joined(separator: " or "))?"
            error.details["nearest"] = .array(nearest.map(JSONValue.string))
        }
        return error
    }
}
