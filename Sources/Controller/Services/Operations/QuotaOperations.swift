import ControllerDomain
import ControllerStore
import FastableCore

/// What a workspace has, and what it may have.
struct QuotaOperations: Sendable {
    let store: any Store
    let capacity: CapacityService

    var all: [Operation] { [usage, setQuota] }

    struct UsageInput: Decodable, Sendable { var workspace: String? }

    struct Answer: Encodable, Sendable {
        struct Amount<Value: Encodable & Sendable>: Encodable, Sendable {
            var used: Value
            var allowed: Value?
        }

        var workspace: String
        var containers: Amount<Int>
        var cpus: Amount<Double>
        var memoryBytes: Amount<Int>
        var diskBytes: Amount<Int>
        var projectsWithoutDisk: Int

        init(_ workspace: Workspace, _ usage: WorkspaceUsage) {
            let quota = workspace.quota
            self.workspace = workspace.name
            containers = Amount(used: usage.containers, allowed: quota.containers)
            cpus = Amount(used: usage.cpus, allowed: quota.cpus)
            memoryBytes = Amount(used: usage.memoryBytes, allowed: quota.memoryBytes)
            diskBytes = Amount(used: usage.diskBytes, allowed: quota.diskBytes)
            projectsWithoutDisk = usage.projectsWithoutDisk
        }
    }

    private static func amount(_ number: JSONSchema, _ text: String) -> JSONSchema {
        .output([.required("used", number), .optional("allowed", number)], text)
    }

    private static let answer = JSONSchema.output([
        .required("workspace", .string("Its name.")),
        .required("containers", amount(.count(), "Containers that are awake; without `allowed` there is no bound.")),
        .required("cpus", amount(.number(), "Sum of the CPU limits of those that are awake.")),
        .required("memoryBytes", amount(.count(), "Sum of the memory limits of those that are awake.")),
        .required(
            "diskBytes", amount(.count(), "Sum of the sizes of its projects' own disks, archived ones included.")),
        .required("projectsWithoutDisk", .count("Projects without a disk of their own, which nothing bounds.")),
    ])

    private static let workspaceField = JSONSchema.Property.optional(
        "workspace", .string("Its name or its id; your own unless given.", minimumBytes: 1, maximumBytes: 128))

    private var usage: Operation {
        .make(
            "projects_usage",
            .init(
                "Show what a workspace has",
                "Tells how many containers of the workspace are awake and what they and its projects' disks add up to, beside what an "
                    + "operator allows. An operator may name another workspace."),
            scope: .projectsRead, annotations: .reading, input: UsageInput.self,
            accepts: .input([Self.workspaceField]), answers: Self.answer
        ) { input, context in
            let workspace = try await store.workspace(named: input.workspace, for: context.principal)
            return Answer(workspace, try await capacity.usage(of: workspace.id))
        }
    }

    struct QuotaInput: Decodable, Sendable {
        var workspace: String?
        var containers: Int?
        var cpus: Double?
        var memoryBytes: Int?
        var diskBytes: Int?
    }

    private var setQuota: Operation {
        .make(
            "workspace_set_quota",
            .init(
                "Set what a workspace may have",
                "Bounds how many containers of a workspace are awake at a time, the sums of their CPU and memory limits, and the sum of "
                    + "its projects' disks. It replaces the earlier quota: what is not given has no bound. What there is already stays "
                    + "as it is."),
            scope: .admin, annotations: .writing(idempotent: true), input: QuotaInput.self,
            accepts: .input([
                Self.workspaceField,
                .optional("containers", .integer(0...Limits.quotaContainersHighest, "Containers that are awake.")),
                .optional("cpus", .number(0...Limits.quotaCPUsHighest, "Sum of their CPU limits.")),
                .optional("memoryBytes", .integer(0...Limits.quotaBytesHighest, "Sum of their memory limits.")),
                .optional(
                    "diskBytes",
                    .integer(
                        0...Limits.quotaBytesHighest,
                        "Sum of the disks of its projects. Each new project must have a disk of its own then.")),
            ]), answers: Self.answer, visibleToAgents: false, note: Self.note
        ) { input, context in
            let workspace = try await store.workspace(named: input.workspace, for: context.principal)
            let quota = WorkspaceQuota(
                containers: input.containers, cpus: input.cpus, memoryBytes: input.memoryBytes,
                diskBytes: input.diskBytes)
            let changed = try await store.setQuota(quota, of: workspace.id)
            return Answer(changed, try await capacity.usage(of: workspace.id))
        }
    }

    @Sendable private static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        for name in ["containers", "cpus", "memoryBytes", "diskBytes"] { detail[name] = input[name] }
        return Operation.Note(input["workspace"]?.string?.shortened ?? "", detail)
    }
}

extension WorkspaceStore {
    /// The principal's own, or another one by its name or id. That does not exist for those who are no operators.
    func workspace(named text: String?, for principal: Principal) async throws -> Workspace {
        guard let text else { return try await workspace(principal.workspace) }
        let all = try await workspaces()
        guard let found = all.first(where: { $0.id.description == text || $0.name == text }),
            found.id == principal.workspace || principal.holds(.admin)
        else { throw FastableError.missing(.workspace, text) }
        return found
    }
}
