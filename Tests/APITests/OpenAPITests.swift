import ControllerServices
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite(.endsInTime) struct OpenAPITests {
    @Test func describesEveryOperationAndNothingTwice() async throws {
        try await withServer { server in
            let answer = try await server.get("/openapi.json", token: nil)
            let document = try answer.json()
            #expect(answer.status == 200 && document["openapi"] == "3.1.0" && document["info"]?["version"] == "9.9.9")
            let paths = try #require(document["paths"]?.object)
            for operation in server.backend.operations {
                let post = paths["/api/tools/\(operation.name)"]?["post"]
                #expect(post?["requestBody"]?["content"]?["application/json"]?["schema"] == operation.inputSchema.json)
                #expect(
                    post?["responses"]?["200"]?["content"]?["application/json"]?["schema"]
                        == operation.outputSchema.json)
                for status in ["400", "401", "403", "404", "409", "413", "429", "503"] {
                    #expect(post?["responses"]?[status]?["$ref"] == "#/components/responses/Problem")
                }
            }
            let identifiers = paths.values.flatMap {
                ($0.object ?? [:]).values.compactMap { $0["operationId"]?.string }
            }
            #expect(Set(identifiers).count == identifiers.count && identifiers.count > paths.count - 1)
            try checkReferences(document, in: document)
            try checkParameters(paths)
        }
    }

    /// Every `$ref` leads somewhere in the document.
    private func checkReferences(_ value: JSONValue, in document: JSONValue) throws {
        for element in value.array ?? [] { try checkReferences(element, in: document) }
        for (key, member) in value.object ?? [:] {
            if key == "$ref", let path = member.string {
                let target = path.split(separator: "/").dropFirst().reduce(Optional(document)) { $0?[String($1)] }
                #expect(path.hasPrefix("#/") && target != nil, "\(path)")
            }
            try checkReferences(member, in: document)
        }
    }

    /// Every `{name}` of a path is declared.
    private func checkParameters(_ paths: [String: JSONValue]) throws {
        for (path, item) in paths {
            let wanted = path.split(separator: "/").filter { $0.hasPrefix("{") }.map {
                String($0.dropFirst().dropLast())
            }
            let declared = (item["parameters"]?.array ?? []).filter { $0["in"] == "path" }.compactMap {
                $0["name"]?.string
            }
            #expect(wanted == declared, "\(path)")
        }
    }
}
