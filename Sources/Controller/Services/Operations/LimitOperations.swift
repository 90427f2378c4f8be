import ControllerDomain
import FastableCore

/// What a container may use, and what new projects of a workspace get.
struct LimitOperations: Sendable {
    let projects: ProjectService

    var all: [Operation] { [limits, setWorkspaceDisk] }

    struct Input: Decodable, Sendable {
        var cpus: Double?
        var memoryBytes: Int?
        var pids: Int?
        var diskBytes: Int?
    }

    struct Answer: Encodable, Sendable {
        var limits: ResourceLimits
        var ceiling = ResourceLimits(
            cpus: Limits.containerCPUsHighest, memoryBytes: Limits.containerMemoryBytesHighest,
            pids: Limits.containerPIDsHighest, diskBytes: Limits.containerDiskBytesHighest)
        var applied: Bool
    }

    private var limits: Operation {
        .onProject(
            "devcontainer.limits",
            .init(
                "Show or change the container's limits",
                "Changes how much CPU and memory, and how many processes, the project's container may use: at once, also while commands "
                    + "run in it, and for every later container. Limits that are not given stay as they are; without any, the present "
                    + "ones are told. Fails with conflict, and changes nothing, when the container uses more than the new limit already."
            ),
            scope: .projectsWrite, annotations: .writing(idempotent: true), input: Input.self,
            fields: [
                .optional(
                    "cpus", .number(0.05...Limits.containerCPUsHighest, "Cores; one that is shared is a part of 1.")),
                .optional(
                    "memoryBytes",
                    .integer((32 * 1024 * 1024)...Limits.containerMemoryBytesHighest, "Bytes of memory.")),
                .optional("pids", .integer(16...Limits.containerPIDsHighest, "Processes and threads.")),
                .optional(
                    "diskBytes",
                    .integer(
                        Limits.projectDiskBytesLeast...Limits.containerDiskBytesHighest,
                        "Size of the project's disk. It can grow, and become smaller down to what is in use.")),
            ],
            answers: .output([
                .required("limits", ProjectSchemas.limits),
                .required("ceiling", ProjectSchemas.limits),
                .required("applied", .boolean("They are in force; otherwise the node is told when it is back.")),
            ]),
            note: { input in
                var detail: [String: JSONValue] = [:]
                for name in ["cpus", "memoryBytes", "pids", "diskBytes"] { detail[name] = input[name] }
                return Operation.Note("", detail)
            }
        ) { input, project, context in
            let change = LimitsChange(
                cpus: input.cpus, memoryBytes: input.memoryBytes, pids: input.pids, diskBytes: input.diskBytes)
            guard !change.isEmpty else { return Answer(limits: project.limits, applied: true) }
            let (changed, applied) = try await projects.setLimits(change, of: project, request: context.requestID)
            return Answer(limits: changed.limits, applied: applied)
        }
    }

    struct Disk: Codable, Sendable {
        var diskBytes: Int?
    }

    private var setWorkspaceDisk: Operation {
        .make(
            "workspace_set_disk",
            .init(
                "Set the disk of the workspace's new projects",
                "Sets the size of the disk that new projects of the workspace get, where they do not say otherwise. Without `diskBytes` "
                    + "they get what the operator of their node has set, which may be none. Projects that there are stay as they are."
            ),
            scope: .admin, annotations: .writing(idempotent: true), input: Disk.self,
            accepts: .input([
                .optional(
                    "diskBytes",
                    .integer(
                        Limits.projectDiskBytesLeast...Limits.containerDiskBytesHighest,
                        "Size of a new project's disk."))
            ]),
            answers: .output([.optional("diskBytes", .count("Absent when its nodes decide."))]),
            visibleToAgents: false,
            note: { Operation.Note("", $0["diskBytes"].map { ["diskBytes": $0] } ?? [:]) }
        ) { input, context in
            let changed = try await projects.setDisk(input.diskBytes, of: context.principal.workspace)
            return Disk(diskBytes: changed.diskBytes)
        }
    }
}
