import Foundation

/// Paths of the routes of a project's files.
enum ProjectPath {
    static func of(_ project: String, _ route: String, _ query: [String: String?]) -> String {
        var components = URLComponents()
        components.path = "/api/projects/\(project)/fs/\(route)"
        let items = query.sorted { $0.key < $1.key }.compactMap { name, value in
            value.map { URLQueryItem(name: name, value: $0) }
        }
        if !items.isEmpty { components.queryItems = items }
        // In a query a plus sign means a space, which `URLComponents` does not know.
        return (components.string ?? components.path).replacing("+", with: "%2B")
    }
}
