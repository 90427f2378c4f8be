import FastableCore
import FastableWire
import NodeFiles

/// Searches whose results are told as they are found.
extension NodeRouter {
    func streamGlob(_ call: NodeCall) async throws {
        try await stream(call, bytes: { $0.utf8.count }) { files, request, found in
            try await files.glob(request, found: found)
        }
    }

    func streamGrep(_ call: NodeCall) async throws {
        try await stream(call, bytes: { $0.path.utf8.count + $0.text.utf8.count }) { files, request, found in
            try await files.grep(request, found: found)
        }
    }

    private typealias Found<Item> = @Sendable ([Item]) async throws -> Void

    private func stream<Request: Codable & Sendable, Item: Codable & Sendable, Result: Codable & Sendable>(
        _ call: NodeCall, bytes: @escaping @Sendable (Item) -> Int,
        _ search: @escaping @Sendable (FileService, Request, @escaping Found<Item>) async throws -> Result
    ) async throws {
        let file: FileCall<Request> = try call.arguments()
        let files = try await files(of: file.project, call)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let result = try await search(files, file.arguments) { items in
                    for part in Self.parts(of: items, bytes) {
                        try await call.send(FileSearchEvent<Item, Result>.found(part))
                    }
                }
                try await call.send(FileSearchEvent<Item, Result>.finished(result))
            }
            group.addTask {
                // Ends when the controller does not want to hear any more.
                while try await call.stream.next() != nil {}
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        try? await call.stream.finish()
    }

    /// Pieces that fit into one message each, also when every byte must be escaped.
    private static func parts<Item>(of items: [Item], _ bytes: (Item) -> Int) -> [[Item]] {
        var parts: [[Item]] = []
        var rest = items[...]
        while !rest.isEmpty {
            var size = 0
            let part = rest.prefix { item in
                size += bytes(item)
                return size <= Limits.searchBatchBytes
            }
            let count = min(max(1, part.count), Limits.searchBatchItems)
            parts.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return parts
    }
}
