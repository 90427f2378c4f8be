import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FoundationEssentials

/// `images_*`: what containers start from. Images live on nodes. For operators.
struct ImageOperations: Sendable {
    let store: any Store
    let nodes: any NodeDirectory
    let placement: ProjectPlacement

    var all: [Operation] { [list, add, remove] }

    struct View: Encodable, Sendable {
        var node: String
        var name: String
        var source: String
        var sizeBytes: Int
        var addedAt: Date
        var digest: String?

        init(_ image: ImageInfo, on node: NodeRecord) {
            self.node = node.name
            name = image.name
            source = image.source
            sizeBytes = image.sizeBytes
            addedAt = image.addedAt
            digest = image.digest
        }
    }

    struct Answer: Encodable, Sendable {
        var images: [View]
        /// Nodes that could not be asked.
        var offline: [String]?
    }

    private static let image = JSONSchema.output([
        .required("node", .string("Name of the node that has it.")),
        .required("name", .string()),
        .required("source", .string("Where it came from.")),
        .required("sizeBytes", .count()),
        .required("addedAt", .date("When it was added, or pulled by the node.")),
        .optional(
            "digest", .string("Of the manifest in its registry: nodes that lack the image pull exactly these bytes.")),
    ])

    private static let node = JSONSchema.Property.optional(
        "node",
        .string(
            "Only this node: its name or id. All that are connected unless given.", minimumBytes: 1, maximumBytes: 128))

    private static let name = JSONSchema.Property.required(
        "name", .string("The image's name.", minimumBytes: 1, maximumBytes: Limits.nameBytes))

    private static func note(_ input: JSONValue) -> Operation.Note {
        var detail: [String: JSONValue] = [:]
        if let source = input["source"]?.string { detail["source"] = .string(source.cut(to: 512)) }
        if let node = input["node"]?.string { detail["node"] = .string(node.shortened) }
        return Operation.Note(input["name"]?.string?.shortened ?? "", detail)
    }

    // MARK: list

    struct ListInput: Decodable, Sendable { var node: String? }

    private var list: Operation {
        .make(
            "images_list",
            .init("List images", "Lists the images of the nodes. `offline` names the nodes that could not be asked."),
            scope: .admin, annotations: .reading, input: ListInput.self, accepts: .input([Self.node]),
            answers: .output([
                .required("images", .array(Self.image)), .optional("offline", .array(.string())),
            ]), visibleToAgents: false
        ) { input, context in
            let (reachable, offline) = try await targets(input.node)
            let images = try await onEach(reachable) { node, client in
                try await client.call(
                    .imageList, Empty(), returning: ImageListResult.self, request: context.requestID,
                    timeout: .seconds(Limits.nodeAnswerSeconds)
                ).images.map { View($0, on: node) }
            }
            return Answer(
                images: images.flatMap(\.self).sorted { ($0.name, $0.node) < ($1.name, $1.node) },
                offline: offline.map(\.name))
        }
    }

    // MARK: add and remove

    struct AddInput: Decodable, Sendable {
        var name: String
        var source: String
        var node: String?
    }

    private var add: Operation {
        .make(
            "images_add",
            .init(
                "Add an image",
                "Adds an image to one node or to all that are connected: `dir:/path` or `inplace:/path` for a root filesystem on the "
                    + "node, `oci:/path[:tag]` for an OCI layout on the node, `docker://registry/name:tag` for a registry. Takes "
                    + "up to \(Limits.imageAddSeconds / 60) minutes. Other nodes pull the same bytes from that registry when they need them."
            ),
            scope: .admin, annotations: .writing(idempotent: true, openWorld: true), input: AddInput.self,
            accepts: .input([
                Self.name, .required("source", .string("Where it comes from.", minimumBytes: 1, maximumBytes: 4096)),
                Self.node,
            ]), answers: .output([.required("images", .array(Self.image))]), visibleToAgents: false, note: Self.note
        ) { input, context in
            try Rules.imageName(input.name, field: "name")
            let images = try await onEach(try await reachable(input.node)) { node, client in
                let image = try await client.call(
                    .imageAdd, ImageAdd(name: input.name, source: input.source), returning: ImageInfo.self,
                    request: context.requestID, timeout: .seconds(Limits.imageAddSeconds + Limits.nodeAnswerSeconds))
                placement.imageAdded(input.name, to: node.id)
                return View(image, on: node)
            }
            return Answer(images: images, offline: nil)
        }
    }

    struct RemoveInput: Decodable, Sendable {
        var name: String
        var node: String?
    }

    struct RemoveAnswer: Encodable, Sendable {
        var name: String
        var nodes: [String]
    }

    private var remove: Operation {
        .make(
            "images_remove",
            .init(
                "Remove an image",
                "Removes an image from one node or from all that are connected. Fails with conflict when a project uses it, "
                    + "also an archived one unless another connected node has the image."
            ),
            scope: .admin, annotations: .writing(destructive: true), input: RemoveInput.self,
            accepts: .input([Self.name, Self.node]),
            answers: .output([.required("name", .string()), .required("nodes", .array(.string()))]),
            visibleToAgents: false, note: Self.note
        ) { input, context in
            let leaving = try await reachable(input.node)
            try await checkUse(of: input.name, whenItLeaves: Set(leaving.map(\.id)))
            let removed = try await onEach(leaving) { node, client in
                do {
                    _ = try await client.call(
                        .imageRemove, ImageName(name: input.name), returning: Empty.self, request: context.requestID,
                        timeout: .seconds(Limits.projectDeleteSeconds + Limits.nodeAnswerSeconds))
                } catch let error as FastableError where error.code == .notFound && input.node == nil {
                    return String?.none
                }
                placement.imageRemoved(input.name, from: node.id)
                return node.name
            }.compactMap(\.self)
            guard !removed.isEmpty else { throw FastableError.missing(.image, input.name) }
            return RemoveAnswer(name: input.name, nodes: removed)
        }
    }

    /// Its node tells of projects that are on it. Those that are on none, like archived ones, need the image somewhere.
    private func checkUse(of image: String, whenItLeaves nodes: Set<NodeID>) async throws {
        let stays = self.nodes.connectedNodes().contains { !nodes.contains($0.id) && $0.facts.images.contains(image) }
        guard !stays else { return }
        let users = try await store.projectsWithoutNode(on: image, limit: Limits.pageRows)
        guard !users.isEmpty else { return }
        throw FastableError(
            .conflict,
            "The image ‘\(image.shortened)’ is needed by projects that are archived or were not used yet, and no other connected node has "
                + "it. Delete them, or keep it on one node.",
            details: ["projects": .array(users.prefix(20).map { .string($0.description) })])
    }

    // MARK: nodes

    private func targets(_ text: String?) async throws -> (reachable: [NodeRecord], offline: [NodeRecord]) {
        if let text { return ([try await store.node(NodeKey(text))], []) }
        let connected = Set(nodes.connectedNodes().map(\.id))
        let all = try await store.nodes()
        return (all.filter { connected.contains($0.id) }, all.filter { !connected.contains($0.id) })
    }

    private func reachable(_ text: String?) async throws -> [NodeRecord] {
        let found = try await targets(text).reachable
        guard !found.isEmpty else {
            throw FastableError(
                .unavailable, "No node is connected. `fastable node list` shows them.", retryAfterSeconds: 5)
        }
        return found
    }

    /// Asks the nodes side by side, and gives the answers in their order. An error names its node.
    private func onEach<Value: Sendable>(
        _ records: [NodeRecord], _ ask: @escaping @Sendable (NodeRecord, any NodeClient) async throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: (Int, Value).self) { group in
            for (index, record) in records.enumerated() {
                group.addTask {
                    do {
                        return (index, try await ask(record, try nodes.client(for: record.id)))
                    } catch var error as FastableError {
                        error.message = "On the node ‘\(record.name)’: \(error.message)"
                        error.details["node"] = .string(record.name)
                        throw error
                    }
                }
            }
            var values: [Int: Value] = [:]
            for try await (index, value) in group { values[index] = value }
            return records.indices.compactMap { values[$0] }
        }
    }
}
