public import FastableCore
import GRDB

extension SQLiteStore {
    public func imagesInUse(limit: Int) async throws -> [String] {
        try await read { db in
            // A project that is being deleted may still have a container.
            try db.rows(
                "SELECT image FROM projects UNION SELECT image FROM snapshots ORDER BY image LIMIT $1", limit
            ).map { row -> String in
                var reader = RowReader(row)
                return try reader.text()
            }
        }
    }

    public func projectsWithoutNode(on image: String, limit: Int) async throws -> [ProjectID] {
        try await read { db in
            let find = """
                SELECT id FROM projects WHERE image = $1 AND node_id IS NULL AND deleted_at IS NULL ORDER BY id LIMIT $2
                """
            return try db.rows(find, image, limit).map { row -> ProjectID in
                var reader = RowReader(row)
                return try reader.id()
            }
        }
    }
}
